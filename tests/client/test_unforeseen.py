"""A fault of our own over one message is a refusal; the agent goes on, and says nothing of what it worked on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lone_site import START, LoneSite

from client.jobs import RoundDone
from client.unforeseen import refusing_the_unforeseen
from shared.address import Stage
from shared.canonical import digest
from shared.errors import LinkError, Refusal, WireCode


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.open()
    yield lone
    lone.close()


def test_where_it_was_is_said_and_nothing_of_what_was_worked_on() -> None:
    with pytest.raises(Refusal) as refusal, refusing_the_unforeseen():
        _ = {}["Erika Mustermann"]
    assert refusal.value.wire_code is WireCode.INTERNAL
    assert refusal.value.remedy.startswith("KeyError at test_unforeseen.py:")
    assert "Erika" not in refusal.value.remedy


@pytest.mark.parametrize(
    "foreseen", [Refusal(WireCode.POLICY), LinkError("The line is down.", remedy="Wait."), PermissionError(13, "no")]
)
def test_what_has_a_type_or_is_the_computers_goes_on(foreseen: Exception) -> None:
    with pytest.raises(type(foreseen)) as raised, refusing_the_unforeseen():
        raise foreseen
    assert raised.value is foreseen


def test_a_result_that_our_code_stumbles_over_is_refused_and_the_next_round_is_worked(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.answering.hear(RoundDone.model_construct(counts=None, scores=(), seconds={}))
    assert site.refused() == [WireCode.INTERNAL]
    assert "AttributeError at floors.py:" in site.said[-1]
    site.tell(site.coordinator.work(2, previous_digest=digest(START)))
    site.finish()
    assert site.answers[-1].type == "ready"


def test_a_spooled_report_that_cannot_be_read_stops_its_own_round_alone(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.finish()
    (site.folder / "spool" / "lungs" / "round-000001" / "ready.json").write_text('{"type": "ready"}')
    for attempt in (2, 3):
        site.start()
        site.tell(site.coordinator.work(1, address=site.coordinator.address(Stage.TRAIN, 1, attempt=attempt)))
    assert site.refused() == [WireCode.INTERNAL, WireCode.INTERNAL]
    site.tell(site.coordinator.work(2, previous_digest=digest(START)))
    site.finish()
    assert site.answers[-1].type == "ready"
