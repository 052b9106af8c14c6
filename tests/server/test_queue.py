"""The queue: who gets a process, and that nobody is held up by a study that waits for sites."""

from typing import Any

import pytest

from server.queue import MOST, PLACES, Contender, to_start, waits_for_sites
from server.study_folder import StudyState

RUNNING, QUEUED = StudyState.RUNNING, StudyState.QUEUED


def working(number: int, **more: Any) -> list[Contender]:
    return [Contender(f"works-{n}", RUNNING, "1", has_process=True, **more) for n in range(number)]


def names(*contenders: Contender) -> list[str]:
    return [contender.study for contender in to_start(contenders)]


def test_the_study_that_was_queued_first_comes_first() -> None:
    later, sooner = Contender("a", QUEUED, "2026-01-02"), Contender("b", QUEUED, "2026-01-01")
    assert names(later, sooner) == ["b", "a"]
    assert names(later, sooner, *working(PLACES - 1)) == ["b"]
    assert names(later, sooner, *working(PLACES)) == []


def test_a_study_that_lost_its_process_goes_before_those_that_wait_for_a_place() -> None:
    queued, died = Contender("a", QUEUED, "2026-01-01"), Contender("b", RUNNING, "2026-01-02")
    assert names(queued, died) == ["b", "a"]
    assert names(queued, died, *working(PLACES - 1)) == ["b"]


def test_a_study_that_waits_for_sites_takes_no_place() -> None:
    queued = Contender("a", QUEUED, "2026-01-01")
    assert names(queued, *working(PLACES + 3, waits_for_sites=True)) == ["a"]
    assert names(queued, *working(MOST, waits_for_sites=True)) == []


@pytest.mark.parametrize(
    ("phases", "waits"),
    [
        ((), False),  # its process has shown nothing yet
        (("waiting", "admitted"), True),
        (("lost", "refused"), True),
        (("waiting", "asked"), False),
        (("waiting", "spooled"), False),
        (("admitted", "admitted"), False),
    ],
)
def test_it_waits_when_nothing_is_in_hand_and_a_site_is_missing(phases: tuple[str, ...], waits: bool) -> None:
    assert waits_for_sites({"sites": [{"phase": phase} for phase in phases]}) is waits
    assert not waits_for_sites({})


def test_a_site_that_says_not_yet_is_waited_for_also_while_it_is_asked_again() -> None:
    held = [{"phase": phase, "held": "awaits_approval"} for phase in ("asked", "lost")]
    assert waits_for_sites({"sites": [*held, {"phase": "admitted"}]})
    assert not waits_for_sites({"sites": [*held, {"phase": "asked"}]})
