"""Who is asked."""

import pytest

from server.cohort import choose, draw, remaining, sample_size
from shared.errors import StudyError
from shared.randomness import StudyRandom


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


# ------------------------------------------------------------ a sample for each round

WARDS = tuple(f"ward-{n:02d}" for n in range(20))


def drawn(number: int, *, size: int = 5, present: set[str] | None = None, online: set[str] | None = None) -> set[str]:
    there = set(WARDS) if present is None else present
    random = StudyRandom(3).child("cohort", number)
    return set(draw(WARDS, there, there if online is None else online, size=size, random=random))


@pytest.mark.parametrize(("sample", "size"), [(None, 30), (4, 4), (99, 30), (0.1, 3), (0.11, 4), (0.001, 1)])
def test_a_sample_is_a_number_or_a_share_of_the_sites(sample: float | None, size: int) -> None:
    assert sample_size(sample, 30) == size


def test_each_round_draws_others_and_always_the_same() -> None:
    rounds = [drawn(number) for number in range(1, 41)]
    assert all(len(sites) == 5 for sites in rounds)
    assert rounds == [drawn(number) for number in range(1, 41)]
    assert set.union(*rounds) == set(WARDS)
    assert len({tuple(sorted(sites)) for sites in rounds}) > 30


def test_who_is_away_is_drawn_only_if_too_few_are_there() -> None:
    online = set(WARDS[:7])
    assert drawn(1, online=online) <= online
    assert drawn(1, size=9, online=online) > online
    assert drawn(1, present=online, size=9) == online


def test_a_site_that_comes_or_goes_changes_nobody_elses_place() -> None:
    gone = next(iter(drawn(1)))
    assert drawn(1) - {gone} < drawn(1, present=set(WARDS) - {gone})


def test_a_quorum_that_the_sample_cannot_reach_is_refused() -> None:
    with pytest.raises(StudyError, match="asks only 2 of 20"):
        choose(WARDS, (), quorum=3, sample=0.1)
    with pytest.raises(StudyError, match="asks only 2 of 20"):
        remaining(WARDS, WARDS, quorum=3, sample=2)
