"""A site is compared with its own earlier rounds first, then with what moved all; false alarms are rare."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.drift import FEWEST_PATIENTS, FEWEST_ROUNDS, FIGURES, MOST_ROUNDS, Finding, Habits
from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateAdmitted, UpdateReady
from shared.metrics import Score

Values = Mapping[str, Mapping[str, float]]  # by site and figure
STEADY = {"norm": 2.0, "seconds": 30.0, "examples": 400.0, "loss": 0.5, "auroc": 0.85}


def digest(number: int) -> str:
    return f"{number:064x}"


def ready(number: int, site: str, said: Mapping[str, float], *, patients: int = 90, **more: Any) -> UpdateReady:
    figures = {name: said[name] for name in ("loss", "auroc") if name in said}
    score = Score(
        model_digest=digest(number - 1), split="validation", patients=patients, statistics={}, figures=figures
    )
    return UpdateReady(
        **{"round": number, "site": site, "update_digest": digest(number), "update_bytes": 1, "patients": 9},
        **{"examples": int(said.get("examples", 1)), "steps": 1, "replayed": False, "scores": (score,)}
        | {"seconds": {"train": said["seconds"]} if "seconds" in said else {}}
        | more,
    )


def round_of(number: int, values: Values) -> Iterator[Record]:
    """The records of one committed round."""
    yield RoundOpened(round=number, epoch=1, model_digest=digest(number - 1), cohort=tuple(values))
    yield from (ready(number, site, said) for site, said in values.items())
    for site, said in values.items():
        admitted = {"update_digest": digest(number), "examples": 1, "norm": said.get("norm", 1.0)}
        yield UpdateAdmitted(round=number, site=site, **admitted)
    models = {"model_digest": digest(number), "previous_digest": digest(number - 1)}
    yield RoundCommitted(round=number, epoch=1, **models, counted=tuple(values))


def told(habits: Habits, number: int, values: Values) -> list[Finding]:
    return [finding for record in round_of(number, values) for finding in habits.take(record)]


def steady(*sites: str, **other: float) -> dict[str, dict[str, float]]:
    return dict.fromkeys(sites or ("north", "south", "west"), STEADY | other)


def settled(*sites: str, rounds: int = FEWEST_ROUNDS) -> Habits:
    habits = Habits()
    for number in range(1, rounds + 1):
        assert told(habits, number, steady(*sites)) == []
    return habits


AFTER = FEWEST_ROUNDS + 1


@pytest.mark.parametrize(
    ("figure", "value"), [("norm", 4.0), ("seconds", 90.0), ("examples", 300.0), ("loss", 0.8), ("auroc", 0.7)]
)
def test_a_site_unlike_its_own_earlier_rounds(figure: str, value: float) -> None:
    habits = settled()
    (found,) = told(habits, AFTER, steady() | {"south": STEADY | {figure: value}})
    assert (found.site, found.figure, found.round, found.value) == ("south", figure, AFTER, value)
    assert (found.usual, found.since, found.alike) == (pytest.approx(STEADY[figure]), AFTER, False)
    assert not found.low <= value <= found.high
    assert habits.unusual == {("south", figure): found}


@pytest.mark.parametrize("figure", STEADY)
def test_small_changes_matter_to_nobody(figure: str) -> None:
    kind = FIGURES[figure]
    near = kind.off_scale(kind.on_scale(STEADY[figure]) - 0.9 * kind.least_on_scale)
    assert told(settled(), AFTER, steady() | {"south": STEADY | {figure: near}}) == []


def test_what_moves_all_sites_is_the_round_and_not_a_site() -> None:
    habits = settled()
    found = told(habits, AFTER, steady(loss=1.0))
    assert [(f.site, f.alike) for f in found] == [("north", True), ("south", True), ("west", True)]
    assert habits.unusual == {}


def test_a_site_that_goes_farther_than_all_the_others_is_unusual() -> None:
    found = told(settled(), AFTER, steady(seconds=60.0) | {"south": STEADY | {"seconds": 200.0}})
    assert [(f.site, f.alike) for f in found] == [("north", True), ("south", False), ("west", True)]


def test_a_site_that_stays_while_all_others_move_is_left_alone() -> None:
    sites = ("north", "south", "west", "east")
    found = told(settled(*sites), AFTER, steady(*sites, seconds=90.0) | {"south": STEADY})
    assert len(found) == 3
    assert all(f.site != "south" and f.alike for f in found)


@pytest.mark.parametrize(
    ("figure", "learned", "unlearned"), [("norm", 0.5, 8.0), ("loss", 0.1, 2.0), ("auroc", 0.95, 0.6)]
)
def test_alone_a_move_that_training_makes_is_not_called_unusual(figure: str, learned: float, unlearned: float) -> None:
    (found,) = told(settled("north"), AFTER, {"north": STEADY | {figure: learned}})
    assert found.alike
    (found,) = told(settled("north"), AFTER, {"north": STEADY | {figure: unlearned}})
    assert not found.alike


@pytest.mark.parametrize("sites", [("north",), ("north", "south", "west")])
def test_a_leap_is_seen_while_training_moves_the_figure(sites: tuple[str, ...]) -> None:
    """Of a norm that falls by a seventh each round."""
    habits = Habits()
    for number in range(1, 11):
        assert told(habits, number, steady(*sites, norm=2.0 * 0.86**number)) == []
    leap = steady(*sites, norm=2.0 * 0.86**11) | {"north": STEADY | {"norm": 4 * 2.0 * 0.86**11}}
    (found,) = told(habits, 11, leap)
    assert (found.site, found.figure, found.alike) == ("north", "norm", False)
    assert found.usual == pytest.approx(2.0 * 0.86**10)


def test_a_steady_fall_and_a_levelling_off_are_both_to_be_expected() -> None:
    habits = Habits()
    for number in range(1, 13):
        assert told(habits, number, steady(loss=0.7**number * 10)) == []
    assert told(habits, 13, steady(loss=0.7**12 * 10)) == []


def test_nothing_is_unusual_before_a_site_has_habits() -> None:
    habits = settled(rounds=FEWEST_ROUNDS - 1)
    assert told(habits, FEWEST_ROUNDS, steady() | {"south": STEADY | {"seconds": 900.0}}) == []


def test_since_when_and_until_it_is_what_is_usual() -> None:
    habits, number = settled(rounds=MOST_ROUNDS), MOST_ROUNDS
    slow = steady() | {"south": STEADY | {"seconds": 90.0}}
    lasted = 0
    while found := told(habits, number := number + 1, slow):
        assert [(f.site, f.since) for f in found] == [("south", MOST_ROUNDS + 1)]
        lasted += 1
    assert MOST_ROUNDS // 3 <= lasted <= MOST_ROUNDS
    assert habits.unusual == {}


def test_one_strange_round_does_not_make_the_next_one_strange() -> None:
    habits = settled()
    assert told(habits, AFTER, steady() | {"south": STEADY | {"seconds": 900.0}}) != []
    assert told(habits, AFTER + 1, steady()) == []
    assert habits.unusual == {}


def test_a_site_that_is_away_keeps_its_mark_until_it_is_back() -> None:
    habits = settled()
    told(habits, AFTER, steady() | {"south": STEADY | {"seconds": 900.0}})
    told(habits, AFTER + 1, steady("north", "west"))
    assert set(habits.unusual) == {("south", "seconds")}
    told(habits, AFTER + 2, steady())
    assert habits.unusual == {}


def test_late_and_replayed_work_and_other_models_are_no_measure() -> None:
    habits = settled()
    records = list(round_of(AFTER, steady("north", "west")))
    late = ready(AFTER, "south", STEADY | {"seconds": 900.0}, late_from=AFTER - 1)
    again = ready(AFTER, "north", STEADY | {"seconds": 900.0}, replayed=True)
    other = ready(AFTER, "west", STEADY | {"loss": 9.0})
    other = other.model_copy(update={"scores": (other.scores[0].model_copy(update={"model_digest": digest(99)}),)})
    found = [f for record in (records[0], late, again, other, *records[3:]) for f in habits.take(record)]
    assert found == []


def test_few_patients_are_no_measure() -> None:
    habits = settled()
    records = list(round_of(AFTER, steady()))
    few = ready(AFTER, "south", STEADY | {"loss": 9.0, "auroc": 0.1}, patients=FEWEST_PATIENTS - 1)
    assert [f for record in (records[0], few, *records[1:2], *records[3:]) for f in habits.take(record)] == []


def test_a_round_that_is_opened_anew_keeps_what_was_said() -> None:
    habits = settled()
    opened, *rest = round_of(AFTER, steady() | {"south": STEADY | {"seconds": 900.0}})
    replay = ready(AFTER, "south", STEADY, replayed=True)
    found = [f for record in (opened, *rest[:3], opened, replay, *rest[3:]) for f in habits.take(record)]
    assert [(f.site, f.figure) for f in found] == [("south", "seconds")]


@given(st.lists(st.floats(0.2, 5.0), min_size=AFTER, max_size=AFTER), st.permutations(["north", "south", "west"]))
def test_the_order_of_sites_does_not_matter(factors: list[float], order: list[str]) -> None:
    one, other = Habits(), Habits()
    for number, factor in enumerate(factors, start=1):
        values = steady() | {"south": {name: value * min(factor, 1.1) for name, value in STEADY.items()}}
        assert told(one, number, values) == told(other, number, {site: values[site] for site in order})


# ------------------------------------------------------------------ how often chance alone is called unusual


def null_rate(figure: str, noise: float, tails: str, *, trend: float, sites: int = 6, rounds: int = 30) -> float:
    """The share of values called unusual where sites only vary by chance, around a common trend of training."""
    rng, judged, unusual = np.random.default_rng(5), 0, 0
    for _ in range(25):
        habits, kind = Habits(), FIGURES[figure]
        start = kind.on_scale(STEADY[figure]) + rng.normal(0, 0.1, sites)
        for number in range(1, rounds + 1):
            drawn = rng.normal(size=sites) if tails == "normal" else rng.standard_t(4, sites)
            at = start + noise * (drawn + 0.3 * rng.normal()) - trend * math.log(number)
            values = {f"s{i}": {figure: float(np.clip(kind.off_scale(v), 0, None))} for i, v in enumerate(at)}
            found = told(habits, number, values)
            judged += sites * (number > FEWEST_ROUNDS)
            unusual += sum(not finding.alike for finding in found if finding.figure == figure)
    return unusual / judged


@pytest.mark.parametrize(("noise", "most"), [(0.05, 1 / 1000), (0.3, 1 / 100)])
@pytest.mark.parametrize(("figure", "trend"), [("seconds", 0.0), ("norm", 0.8), ("loss", 0.5), ("auroc", 0.0)])
@pytest.mark.parametrize("tails", ["normal", "heavy"])
def test_the_false_alarms_are_as_few_as_the_documentation_says(
    figure: str, trend: float, noise: float, most: float, tails: str
) -> None:
    if figure == "auroc":
        noise /= 10
    assert null_rate(figure, noise, tails, trend=trend) <= most


def test_without_the_limits_there_would_be_false_alarms_to_count() -> None:
    """The simulation can fail: heavy tails do give some."""
    assert null_rate("seconds", 0.3, "heavy", trend=0.0) > 0
