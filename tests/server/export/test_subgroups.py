"""What a card says of subgroups: pooled where they add, each site beside the others, and a dot where few are."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finished_study import finished_study

from server.export import Asked, evidence_for
from server.export.card import card_of
from server.export.counts import SiteCounts
from server.export.page import render
from server.export.subgroups import UNASKED, UNTOLD, none_because, subgroups_of
from shared.metrics import Score, auroc_exact
from shared.model_card import ModelCard, SubgroupPerformance
from shared.small_cells import Told
from shared.study import TaskSpec
from shared.subgroups import FIGURES, Subgroup
from shared.survey import SPLITS
from shared.tasks import task_for
from shared.update import PackedFile

TASK = TaskSpec(classes=("opacity",), subgroups=("sex", "vendor"))
MASKS = TaskSpec(kind="segmentation", classes=("lesion",), subgroups=("sex",))
Patients = tuple[np.ndarray, np.ndarray]  # logits and truths


def patients(number: int, *, seed: int) -> Patients:
    rng = np.random.default_rng(seed)
    truth = np.arange(number) % 2
    return rng.normal(size=(number, 1)) + truth[:, None], truth


def scored(parts: dict[tuple[str, str], Patients | None], *, of: int | None = None, histograms: bool = True) -> Score:
    """A site's score `of` so many patients, or of those told of the first trait: with these subgroups by trait and
    value, None where it withholds one."""
    subgroups = []
    for (trait, value), found in parts.items():
        said: dict[str, Any] = {"trait": trait, "value": value, "patients": None}
        if found is not None:
            score = task_for(TASK).score(*found, model_digest="0" * 64, split="test")
            own = {name: score.figures[name] for name in FIGURES if name in score.figures}
            said |= {"patients": score.patients, "figures": own}
            said |= {"histogram": score.statistics["histogram"]} if histograms else {}
        subgroups.append(Subgroup.model_validate(said))
    told = sum(one.patients or 0 for one in subgroups if one.trait == subgroups[0].trait)
    whole = task_for(TASK).score(*patients(of or told, seed=9), model_digest="0" * 64, split="test")
    return whole.model_copy(update={"subgroups": tuple(subgroups)})


def counts_of(sites: Mapping[str, Score], *, hidden: Collection[str] = ()) -> SiteCounts:
    told = {site: None if site in hidden else score.patients for site, score in sites.items()}
    return SiteCounts({split: Told(told, None) for split in SPLITS})


def found(*, smallest: int = 11, hidden: Collection[str] = (), **sites: Score) -> dict[str, SubgroupPerformance]:
    counts = counts_of(sites, hidden=hidden)
    return {one.value: one for one in subgroups_of(TASK, sites, counts, smallest=smallest)}


def test_subgroups_add_over_sites() -> None:
    one, other = patients(200, seed=1), patients(300, seed=2)
    told = found(north=scored({("sex", "female"): one}), south=scored({("sex", "female"): other}))
    female = told["female"]
    both = np.concatenate([one[0], other[0]])[:, 0], np.concatenate([one[1], other[1]]) == 1
    assert (female.how, female.patients) == ("pooled", 500)
    assert female.auroc.value == pytest.approx(auroc_exact(*both), abs=0.005)
    assert female.auroc.low is not None and female.auroc.low < (auroc_exact(*both) or 0)
    assert [(at.site, at.patients) for at in female.by_site] == [("north", 200), ("south", 300)]


def test_where_one_keeps_its_histograms_it_is_the_mean_of_the_sites_own() -> None:
    kept = scored({("sex", "female"): patients(200, seed=1)}, histograms=False)
    female = found(north=kept, south=scored({("sex", "female"): patients(300, seed=2)}))["female"]
    own = [at.auroc.value for at in female.by_site]
    assert (female.how, female.auroc.low) == ("mean", None)
    assert female.auroc.value == pytest.approx(np.mean(np.array(own, float)))


def outlined(dice: Mapping[str, list[float]]) -> Score:
    """A site's score of masks, with such a Dice of each patient of a sex; NaN where there is nothing to measure."""
    task, rows = task_for(MASKS), {sex: np.array([[one, one, 0.1] for one in values]) for sex, values in dice.items()}
    scores = {
        sex: task.score(each, np.zeros((len(each), 1), np.int64), model_digest="0" * 64, split="test")
        for sex, each in {**rows, "all": np.concatenate(list(rows.values()))}.items()
    }
    subgroups = tuple(
        Subgroup.scored("sex", sex, patients=one.patients, statistics=one.statistics, figures=one.figures)
        for sex, one in scores.items()
        if sex != "all"
    )
    return scores["all"].model_copy(update={"subgroups": subgroups})


def test_of_masks_it_is_the_dice_of_all_patients_in_whom_something_was_measured() -> None:
    rng = np.random.default_rng(0)
    women, others = rng.uniform(0.5, 1, 40).tolist(), rng.uniform(0, 0.5, 20).tolist()
    sites = {"north": outlined({"female": [*women, np.nan]}), "south": outlined({"female": others})}
    (female,) = subgroups_of(MASKS, sites, counts_of(sites), smallest=11)
    mean, error = np.mean(women + others), np.std(women + others) / np.sqrt(59)
    assert (female.auroc, female.how, female.patients) == (None, "pooled", 61)
    assert female.dice is not None
    assert female.dice.value == pytest.approx(mean, abs=1e-5)
    assert female.dice.high == pytest.approx(mean + 1.96 * error, abs=1e-4)
    assert [at.dice.value for at in female.by_site if at.dice] == pytest.approx(
        [np.mean(women), np.mean(others)], abs=1e-4
    )
    few = {"north": outlined({"female": [0.5] * 8 + [np.nan] * 20, "male": [0.9] * 30})}
    told = subgroups_of(MASKS, few, counts_of(few), smallest=11)
    assert [(one.value, one.patients, one.dice and one.dice.value) for one in told] == [
        ("female", None, None),
        ("male", None, None),
    ]


def test_what_a_site_withholds_is_in_no_figure() -> None:
    told = found(
        north=scored({("vendor", "ge"): None, ("vendor", "siemens"): None}, of=100),
        south=scored({("vendor", "siemens"): patients(60, seed=1)}),
    )
    assert (told["siemens"].patients, told["ge"].patients, told["ge"].auroc.value) == (60, None, None)
    assert [(at.site, at.patients) for at in told["siemens"].by_site] == [("north", None), ("south", 60)]


def test_the_card_may_hide_more_than_the_sites_do() -> None:
    site = scored({("vendor", "siemens"): patients(60, seed=1), ("vendor", "ge"): patients(400, seed=1)})
    assert {one.value: one.patients for one in found(north=site).values()} == {"siemens": 60, "ge": 400}
    assert {one.patients for one in found(north=site, smallest=40).values()} == {None}  # 30 of 60 have it


def test_what_a_site_withheld_under_a_smaller_cell_does_not_follow_from_the_others() -> None:
    parts = {("sex", "female"): patients(250, seed=1), ("sex", "male"): patients(244, seed=2), ("sex", "other"): None}
    told = {value: one.patients for value, one in found(north=scored(parts, of=500)).items()}
    assert told == {"female": 250, "male": None, "other": None}


def test_a_site_whose_patients_are_hidden_is_in_no_subgroup() -> None:
    north = scored({("sex", "female"): patients(30, seed=1)})
    south = scored({("sex", "female"): patients(60, seed=2), ("sex", "male"): patients(40, seed=3)})
    told = found(north=north, south=south, hidden=["north"])
    assert {value: one.patients for value, one in told.items()} == {"female": 60, "male": 40}
    assert [(at.site, at.patients) for at in told["female"].by_site] == [("north", None), ("south", 60)]


def test_without_any_the_card_says_why(tmp_path: Path) -> None:
    study = finished_study(tmp_path).study
    assert none_because(study) == UNASKED
    assert none_because(study.model_copy(update={"task": TASK})) == UNTOLD


def test_the_page_has_every_subgroup(tmp_path: Path) -> None:
    made = finished_study(tmp_path)
    evidence, _ = evidence_for(made.folder, roster=None)
    packed = PackedFile(made.folder.path / evidence.model_file.path)
    asked = Asked(federation="lung", made="2026-01-03T00:00:00Z")
    page = render(with_subgroups(card_of(evidence, asked, packed=packed, sha256="0" * 64, size=1)))
    for said in ("age in years", "65-79", "konica minolta", "several", "maker of the machine"):
        assert said in page


def with_subgroups(made: ModelCard) -> ModelCard:
    """The same card as of a study whose sites tell subgroups."""
    traits = [("sex", "female"), ("sex", "male"), ("age", "18-39"), ("age", "65-79"), ("vendor", "konica_minolta")]
    traits += [("vendor", "siemens"), ("vendor", "several")]
    north = scored({trait: patients(40 + 20 * n, seed=n) for n, trait in enumerate(traits)})
    parts = {trait: None if n in (2, 4) else patients(90, seed=n) for n, trait in enumerate(traits)}
    sites = {"north": north, "south": scored(parts, of=360)}
    told = subgroups_of(TASK, sites, counts_of(sites), smallest=11)
    return made.model_copy(update={"subgroups": told, "no_subgroups": None})
