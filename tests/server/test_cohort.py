"""Who is asked."""

import pytest

from server.cohort import choose
from shared.errors import StudyError


def test_without_a_list_everybody_is_asked() -> None:
    assert choose(["south", "north"], (), quorum=2) == ("north", "south")


def test_the_study_may_name_its_sites() -> None:
    assert choose(["south", "north", "west"], ("west", "north"), quorum=1) == ("north", "west")


def test_an_unknown_site_is_named_beside_the_known_ones() -> None:
    with pytest.raises(StudyError, match="east") as caught:
        choose(["south", "north"], ("north", "east"), quorum=1)
    assert "north, south" in caught.value.remedy


@pytest.mark.parametrize("roster", [[], ["north"]])
def test_a_quorum_out_of_reach_is_refused(roster: list[str]) -> None:
    with pytest.raises(StudyError, match="needs 2 sites"):
        choose(roster, (), quorum=2)
