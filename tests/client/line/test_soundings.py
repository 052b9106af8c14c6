"""How the server's clock is found from which stamps it takes."""

import pytest

from client.line.soundings import offset_of
from shared.errors import LinkError


@pytest.mark.parametrize("ahead", [0.0, 0.4, -0.7, 3.0, -4.0, 60.0, -60.0, 300.0, -300.0, 3600.0, -86_400.0])
def test_the_clock_is_found_to_half_a_second_with_few_calls(ahead: float) -> None:
    calls = []

    def takes(offset: float) -> bool:
        calls.append(offset)
        return -5.0 < ahead - offset < 305.0  # flwr 1.39

    assert offset_of(takes) == pytest.approx(ahead, abs=0.3)
    assert abs(ahead) > 300 or len(calls) < 20


def test_a_clock_that_is_days_away_is_not_looked_for() -> None:
    with pytest.raises(LinkError, match="26 hours"):
        offset_of(lambda _: False)
