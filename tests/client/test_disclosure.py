"""What a site tells of its scores: nothing about few patients, and no fine statistics without its policy's word."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lone_site import COUNTS, TENSORS, LoneSite, a_study

from client.contract import check_release
from client.disclosure import disclosed
from client.policy import Policy
from shared.address import Address, Stage
from shared.contract import Contract, contract_of
from shared.errors import Refusal
from shared.metrics import Score
from shared.study import Study
from shared.subgroups import Subgroup
from shared.tasks import task_for
from shared.wire import Ready

MODEL = "a" * 64
ALL = Policy(smallest_cell=10, score_histograms=True)
BINARY = a_study()
LABELS = a_study(task={"mode": "multilabel", "classes": ["mass", "effusion"]})
CLASSES = a_study(task={"mode": "multiclass", "classes": ["a", "b", "c"]})


def contract(study: Study) -> Contract:
    return contract_of(study, TENSORS, site="north")


def score(study: Study, targets: list[Any], *, split: Any = "validation") -> Score:
    task, rng = task_for(study.task), np.random.default_rng(0)
    logits = rng.normal(size=(len(targets), task.outputs)).astype(np.float32)
    return task.score(logits, np.array(targets), model_digest=MODEL, split=split)


def report(*scores: Score) -> Ready:
    return Ready(
        address=Address(study="lungs", epoch=1, round=3, attempt=1, stage=Stage.EVALUATE),
        model_digest=MODEL,
        update_digest=None,
        update_bytes=0,
        uploaded=False,
        replayed=False,
        counts=COUNTS,
        scores=scores,
        seconds={},
    )


def told(policy: Policy, study: Study, *scores: Score) -> Ready:
    """What leaves of a report; the contract always allows it."""
    message = disclosed(report(*scores), contract=contract(study), policy=policy)
    assert isinstance(message, Ready)
    check_release(contract(study), message, None)
    return message


MASKS = a_study(task={"kind": "segmentation", "classes": ["lesion"]}, model={"name": "unet"})
ENOUGH = [0] * 10 + [1] * 10


def test_a_split_of_enough_patients_is_told_whole() -> None:
    whole = score(BINARY, ENOUGH)
    found = told(ALL, BINARY, whole)
    assert (found.scores, found.withheld) == ((whole,), ())


def test_a_split_of_which_no_class_can_be_counted_is_withheld() -> None:
    bare = score(BINARY, ENOUGH).model_copy(update={"statistics": {}})
    assert told(Policy(smallest_cell=10), BINARY, bare).withheld == ("validation",)
    assert told(Policy(smallest_cell=1), BINARY, bare).withheld == ()


def test_statistics_that_count_no_class_are_as_good_as_none() -> None:
    whole = score(BINARY, ENOUGH)
    for name in ("brier_millionths", "of_nobodys_contract"):
        blind = whole.model_copy(update={"statistics": {name: (0,)}})
        assert disclosed(report(blind), contract=contract(BINARY), policy=ALL).withheld == ("validation",)


@pytest.mark.parametrize(
    ("study", "targets"),
    [
        (BINARY, []),
        (BINARY, [0] * 5 + [1] * 4),
        (BINARY, [0] * 100 + [1] * 9),
        (BINARY, [0] * 9 + [1] * 100),
        (BINARY, [0] * 100),
        (LABELS, [[1, 0]] * 10 + [[0, 1]] * 9),
        (CLASSES, [0] * 20 + [1] * 20 + [2] * 9),
    ],
    ids=["nobody", "few", "few positive", "few negative", "one class", "a label", "a class of three"],
)
def test_of_a_small_cell_is_told_only_that_it_is_withheld(study: Study, targets: list[Any]) -> None:
    shape = (0, 1) if not targets else None
    small = score(study, targets) if targets else score(study, list(np.zeros(shape, np.int64)))
    found = told(ALL, study, small)
    assert (found.scores, found.withheld) == ((), ("validation",))


def test_each_split_is_judged_by_itself() -> None:
    found = told(ALL, BINARY, score(BINARY, [0, 1]), score(BINARY, ENOUGH, split="test"))
    assert ([s.split for s in found.scores], found.withheld) == (["test"], ("validation",))


def test_a_cell_of_one_withholds_nothing() -> None:
    open_hand = Policy(smallest_cell=1, score_histograms=True)
    assert told(open_hand, BINARY, score(BINARY, [0, 1])).withheld == ()
    assert told(open_hand, BINARY, score(BINARY, [0, 0])).withheld == ()


def test_the_default_is_a_cell_of_eleven_and_no_histogram() -> None:
    enough = told(Policy(), BINARY, score(BINARY, [0] * 11 + [1] * 11))
    assert [found.statistics for found in enough.scores] == [{}]
    assert told(Policy(), BINARY, score(BINARY, [0] * 11 + [1] * 10)).withheld == ("validation",)


@pytest.mark.parametrize("study", [BINARY, CLASSES], ids=["binary", "multiclass"])
def test_without_the_policys_word_only_a_rounded_auroc_with_its_interval_leaves(study: Study) -> None:
    targets = list(np.arange(60) % (2 if study is BINARY else 3))
    whole = score(study, targets)
    (coarse,) = told(Policy(smallest_cell=10), study, whole).scores
    assert coarse.statistics == {}
    assert coarse.figures == {name: round(whole.figures[name], 2) for name in ("auroc", "auroc_low", "auroc_high")}
    assert (coarse.patients, coarse.split, coarse.model_digest) == (60, "validation", MODEL)


def test_a_private_study_does_not_even_say_that_a_split_is_withheld() -> None:
    few = report(score(BINARY, [0, 1]))
    private = contract(BINARY).model_copy(update={"privacy": object()})
    found = disclosed(few, contract=private, policy=ALL)
    assert isinstance(found, Ready)
    assert (found.scores, found.withheld) == ((), ())


def fault(message: Ready) -> str:
    with pytest.raises(Refusal) as refusal:
        check_release(contract(BINARY), message, None)
    return refusal.value.remedy


def test_the_contract_lets_no_other_figure_out_without_statistics() -> None:
    coarse = told(Policy(smallest_cell=10), BINARY, score(BINARY, ENOUGH)).scores[0]
    more = coarse.model_copy(update={"figures": coarse.figures | {"accuracy": 0.5}})
    assert "the statistic brier_millionths is missing" in fault(report(more))


def test_what_is_withheld_is_not_told_besides() -> None:
    both = report(score(BINARY, ENOUGH)).model_copy(update={"withheld": ("validation",)})
    assert "scored and withheld" in fault(both)


def test_the_door_withholds_by_the_sites_policy_and_the_ledger_names_it(tmp_path: Path) -> None:
    site = LoneSite(tmp_path)
    site.set_policy(smallest_cell=11)
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    (ready,) = [answer for answer in site.answers if answer.type == "ready"]
    assert (ready.scores, ready.withheld) == ((), ("validation",))
    agreed, released = site.entries("contract")[-1], site.entries("release")[-1]
    assert (agreed["floors"]["smallest_cell"], agreed["floors"]["score_histograms"]) == (11, 1)
    assert "withheld.validation" in released["tells"]
    site.close()


@pytest.mark.parametrize(("measured", "leaves"), [(20, True), (10, True), (9, False), (0, False)])
def test_a_dice_is_told_of_enough_patients_in_whom_it_was_measured(measured: int, leaves: bool) -> None:
    rows = np.full((20, 3), 0.5, np.float32)
    rows[measured:, :2] = np.nan
    found = task_for(MASKS.task).score(rows, np.zeros((20, 1), np.int64), model_digest=MODEL, split="validation")
    fine, coarse = told(ALL, MASKS, found), told(Policy(smallest_cell=10), MASKS, found)
    assert [bool(report.scores) for report in (fine, coarse)] == [leaves] * 2
    assert fine.withheld == coarse.withheld == (() if leaves else ("validation",))
    if leaves:
        assert fine.scores[0].statistics["excluded"] == (20 - measured,)
        assert coarse.scores[0].figures == {"dice": 0.5, "dice_low": 0.5, "dice_high": 0.5}
        assert not coarse.scores[0].statistics


APART = a_study(task={"classes": ["opacity"], "subgroups": ["sex"]})
OUTLINED = a_study(task={"kind": "segmentation", "classes": ["lesion"], "subgroups": ["sex"]}, model={"name": "unet"})
OPEN = Policy(smallest_cell=10, score_histograms=True, subgroup_scores=True)


def apart(women: list[int], men: list[int], *, split: Any = "test") -> Score:
    """A score with its subgroups by sex, as the worker makes them."""
    parts = {"female": score(APART, women, split=split), "male": score(APART, men, split=split)}
    subgroups = tuple(
        Subgroup(
            trait="sex",
            value=name,
            patients=one.patients,
            histogram=one.statistics["histogram"],
            figures={"auroc": 0.1234},
        )
        for name, one in parts.items()
    )
    return score(APART, women + men, split=split).model_copy(update={"subgroups": subgroups})


def test_subgroups_leave_only_where_the_policy_says_so() -> None:
    (found,) = told(ALL, APART, apart(ENOUGH, ENOUGH)).scores
    assert found.subgroups == ()
    (found,) = told(OPEN, APART, apart(ENOUGH, ENOUGH)).scores
    assert found.subgroups == apart(ENOUGH, ENOUGH).subgroups


def test_a_small_subgroup_leaves_neither_itself_nor_by_difference() -> None:
    (found,) = told(OPEN, APART, apart(ENOUGH, [1] * 9)).scores
    assert [(one.value, one.patients, one.histogram) for one in found.subgroups] == [
        ("female", None, ()),
        ("male", None, ()),
    ]


def test_a_subgroup_whose_classes_cannot_be_counted_is_withheld() -> None:
    whole = apart(ENOUGH, ENOUGH)
    blind = tuple(one.model_copy(update={"histogram": ()}) for one in whole.subgroups)
    (found,) = told(OPEN, APART, whole.model_copy(update={"subgroups": blind})).scores
    assert [one.patients for one in found.subgroups] == [None, None]


def outlined(*, women: int, men: int, measured: int) -> Score:
    """A score of masks with its subgroups by sex; so many of the men show the structure."""
    task, rows = task_for(OUTLINED.task), np.full((women + men, 3), 0.5, np.float32)
    rows[women + measured :, :2] = np.nan
    parts = {"female": rows[:women], "male": rows[women:]}
    found = {
        name: task.score(part, np.zeros((len(part), 1), np.int64), model_digest=MODEL, split="test")
        for name, part in {"all": rows, **parts}.items()
    }
    subgroups = tuple(
        Subgroup.scored("sex", sex, patients=one.patients, statistics=one.statistics, figures=one.figures)
        for sex, one in found.items()
        if sex != "all"
    )
    return found["all"].model_copy(update={"subgroups": subgroups})


def test_of_masks_a_subgroup_leaves_with_its_dice_and_none_in_whom_little_was_measured() -> None:
    (found,) = told(OPEN, OUTLINED, outlined(women=20, men=20, measured=12)).scores
    assert [(one.patients, one.sums["measured"], one.figures["dice"]) for one in found.subgroups] == [
        (20, (20,), 0.5),
        (20, (12,), 0.5),
    ]
    (found,) = told(OPEN, OUTLINED, outlined(women=20, men=20, measured=9)).scores
    assert [one.patients for one in found.subgroups] == [None, None]
    kept = OPEN.model_copy(update={"score_histograms": False})
    (found,) = told(kept, OUTLINED, outlined(women=20, men=20, measured=12)).scores
    assert [(one.patients, one.sums, one.figures.keys()) for one in found.subgroups] == [
        (20, {}, {"dice", "dice_low", "dice_high"})
    ] * 2


def test_without_histograms_a_subgroup_has_coarse_figures() -> None:
    (found,) = told(OPEN.model_copy(update={"score_histograms": False}), APART, apart(ENOUGH, ENOUGH)).scores
    assert [(one.patients, one.histogram, one.figures) for one in found.subgroups] == [(20, (), {"auroc": 0.12})] * 2


@pytest.mark.parametrize(
    ("study", "change", "split", "rule"),
    [
        (BINARY, {}, "test", "no subgroups of such a trait"),
        (APART, {}, "validation", "test patients alone"),
        (APART, {"patients": 19}, "test", "statistics of a subgroup"),
        (APART, {"histogram": ()}, "test", "has statistics"),
    ],
)
def test_the_door_lets_no_other_subgroup_out(study: Study, change: dict[str, Any], split: Any, rule: str) -> None:
    whole = apart(ENOUGH, ENOUGH, split=split)
    one = whole.subgroups[0].model_copy(update=change)
    message = report(whole.model_copy(update={"subgroups": (one, *whole.subgroups[1:])}))
    with pytest.raises(Refusal) as refused:
        check_release(contract(study), message, None)
    assert rule in refused.value.remedy
