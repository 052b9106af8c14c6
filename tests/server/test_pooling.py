"""How several sites' scores become one figure: pooled where all release statistics, else the mean of their own."""

import numpy as np
import pytest

from server.pooling import How, Together, how_of, releasing, together
from shared.metrics import Score
from shared.study import TaskSpec
from shared.tasks import task_for

TASK = task_for(TaskSpec(classes=("opacity",)))


def score(patients: int, *, skill: float = 1.0, coarse: bool = False, auroc: bool = True) -> Score:
    """What a site tells; coarse as `client/disclosure.py` leaves it."""
    rng, truth = np.random.default_rng(patients), np.arange(patients) % 2
    logits = (rng.normal(size=patients) + skill * (2 * truth - 1)).reshape(-1, 1)
    whole = TASK.score(logits, truth, model_digest="a" * 64, split="validation")
    figures = {name: whole.figures[name] for name in ("auroc", "auroc_low", "auroc_high")} if auroc else {}
    return whole.model_copy(update={"statistics": {}, "figures": figures}) if coarse else whole


def test_where_all_release_statistics_they_are_added() -> None:
    scores = {"north": score(40), "south": score(60)}
    found = together(TASK, scores)
    assert (found.how, found.sites, found.patients) == ("pooled", ("north", "south"), 100)
    assert {"auroc", "auroc_low", "loss", "brier"} <= found.figures.keys()


@pytest.mark.parametrize("coarse", [("north", "south"), ("south",)], ids=["nobody releases", "one does not"])
def test_else_it_is_the_plain_mean_of_their_own(coarse: tuple[str, ...]) -> None:
    scores = {"north": score(40, coarse="north" in coarse), "south": score(600, skill=0.2, coarse=True)}
    found = together(TASK, scores)
    own = [one.figures["auroc"] for one in scores.values()]
    assert found == Together("mean", {"auroc": pytest.approx(sum(own) / 2)}, ("north", "south"), 640)
    assert releasing(scores).keys() == scores.keys() - set(coarse)


def test_a_site_without_a_figure_of_its_own_is_in_no_mean() -> None:
    scores = {"north": score(40, coarse=True), "south": score(60, coarse=True, auroc=False)}
    assert together(TASK, scores).sites == ("north",)
    assert together(TASK, {"south": scores["south"]}) == Together("mean")


@pytest.mark.parametrize(("how", "figures"), [("pooled", 7), ("mean", 1)])
def test_statistics_that_all_release_may_still_be_averaged_to_compare(how: How, figures: int) -> None:
    found = together(TASK, {"north": score(40), "south": score(60)}, how=how)
    assert (found.how, len(found.figures) >= figures) == (how, True)


def test_nobody_at_all() -> None:
    assert (how_of({}), together(TASK, {})) == ("pooled", Together())
