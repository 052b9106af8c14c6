"""Who is asked."""

import pytest

from server.cohort import choose, remaining
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


def test_after_a_restart_who_was_removed_is_not_asked() -> None:
    assert remaining(("east", "north", "west"), ("east", "north", "south"), quorum=2) == ("east", "north")
    with pytest.raises(StudyError, match="needs 3 sites"):
        remaining(("east", "north", "west"), ("east", "north", "south"), quorum=3)
    with pytest.raises(StudyError):
        remaining(("west",), ("south",), quorum=1)
