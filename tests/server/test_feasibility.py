"""What a study could show with the patients that there are."""

import numpy as np
import pytest

from server.feasibility import expected, hanley_mcneil_error
from shared.survey import Survey, SurveyedSplit


def test_the_error_is_the_one_that_drawn_studies_have() -> None:
    """Two thousand studies of 50 and 60 patients with the paper's negative exponential scores."""
    auroc, positive, negative, rng = 0.85, 50, 60, np.random.default_rng(0)
    high = rng.exponential(auroc / (1 - auroc), (2000, positive, 1))
    areas = (high > rng.exponential(1, (2000, 1, negative))).mean(axis=(1, 2))
    assert areas.mean() == pytest.approx(auroc, abs=0.005)
    assert areas.std() == pytest.approx(hanley_mcneil_error(auroc, positive=positive, negative=negative), rel=0.05)


def test_one_patient_on_each_side_is_a_toss_of_a_coin() -> None:
    assert hanley_mcneil_error(0.8, positive=1, negative=1) == pytest.approx((0.8 * 0.2) ** 0.5)


@pytest.mark.parametrize(("positive", "negative"), [(0, 10), (10, 0)])
def test_with_nobody_on_a_side_there_is_none(positive: int, negative: int) -> None:
    assert hanley_mcneil_error(0.8, positive=positive, negative=negative) is None


def test_more_patients_make_it_narrower() -> None:
    errors = [hanley_mcneil_error(0.8, positive=n, negative=2 * n) or 1 for n in (10, 100, 1000)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def surveyed(patients: int | None, positive: int | None) -> Survey:
    part = SurveyedSplit(patients=patients, classes={"opacity": positive})
    nobody = SurveyedSplit(patients=0, classes={})
    splits = {"train": nobody, "validation": nobody, "test": part}
    return Survey.model_validate(
        {"found": 1, "used": 1, "set_aside": {}, "splits": splits, "vendors": {}, "missing": {}}
    )


def test_sites_are_taken_together_and_what_is_withheld_is_not_counted() -> None:
    told = {"north": surveyed(60, 20), "south": surveyed(90, 30), "east": surveyed(40, None), "west": surveyed(None, 9)}
    (chance,) = expected(told, ("opacity",), auroc=0.8)
    assert (chance.positive, chance.negative) == (50, 100)
    error = hanley_mcneil_error(0.8, positive=50, negative=100)
    assert error is not None
    assert chance.width == pytest.approx(2 * 1.96 * error, rel=1e-3)


def test_without_a_count_nothing_is_said() -> None:
    assert [(c.positive, c.width) for c in expected({"east": surveyed(40, None)}, ("opacity",))] == [(0, None)]
