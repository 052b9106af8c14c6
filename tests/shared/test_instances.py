"""Pieces of a structure, counted."""

from typing import Any

import numpy as np
import pytest
import torch

from shared import metrics
from shared.errors import ConfigError
from shared.instances import COUNTS, CountedSegmentation, matched
from shared.segmentation import Segmentation
from shared.study import TaskSpec, parse_study
from shared.tasks import task_for

MODEL = "d" * 64
ONE = TaskSpec(kind="segmentation", classes=("lesion",), instances=True)
TWO = TaskSpec(kind="segmentation", mode="multiclass", classes=("nucleus", "mitosis"), instances=True)
STUDY = """\
[study]
name = "counted"
[task]
{task}
classes = ["lesion"]
instances = true
[model]
name = "unet"
[training]
steps_per_round = 1
"""


def drawn(*boxes: tuple[int, int, int, int], size: int = 24) -> np.ndarray[Any, Any]:
    """A mask that shows each (top, bottom, left, right)."""
    mask = np.zeros((size, size), bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def score(task: Any, called: np.ndarray[Any, Any], truth: np.ndarray[Any, Any], patients: list[int]) -> metrics.Score:
    """Of (images, *size) masks of structure numbers."""
    classes = torch.arange(task.outputs) if task.outputs > 1 else torch.ones(1)
    logits = torch.where(torch.from_numpy(called)[:, None] == classes.view(1, -1, 1, 1), 8.0, -8.0)
    measured = task.measure(logits, torch.from_numpy(truth))
    shown = np.stack([(truth == n + 1).any(axis=(1, 2)) for n in range(len(task.spec.classes))], axis=1)
    rows = task.by_patient(measured, shown.astype(np.int64), np.array(patients))
    found: metrics.Score = task.score(*rows, model_digest=MODEL, split="test")
    return found


def test_each_piece_is_found_missed_or_spurious() -> None:
    truth = drawn((2, 6, 2, 6), (10, 14, 10, 14), (18, 22, 2, 6))
    called = drawn((2, 6, 3, 7), (10, 14, 13, 17), (20, 23, 20, 23))  # IoU 0.6, 1/7, and nothing
    assert matched(called, truth) == (1, 2, 2)
    assert matched(truth, truth) == (3, 0, 0)


def test_half_of_what_both_cover_is_enough() -> None:
    truth = drawn((2, 6, 2, 6))
    assert matched(drawn((2, 6, 2, 4)), truth) == (1, 0, 0)
    assert matched(drawn((2, 6, 2, 4), (7, 8, 7, 8)), truth) == (1, 0, 1)
    less = drawn((2, 6, 2, 4))
    less[2, 2] = False
    assert matched(less, truth) == (0, 1, 1)


def test_one_piece_is_matched_once_although_two_halve_it() -> None:
    truth, halves = drawn((2, 6, 2, 7)), drawn((2, 6, 2, 4), (2, 6, 5, 7))
    truth[:, 4] = False
    truth[4, 4] = True  # a bridge: one piece of 17 places, two of 8
    assert matched(halves, truth) == (0, 1, 2)
    truth[4, 4] = False
    assert matched(halves, truth) == (2, 0, 0)


def test_what_touches_at_a_corner_is_one_piece_and_volumes_have_pieces_too() -> None:
    corner = drawn((2, 6, 2, 6), (6, 10, 6, 10))
    assert matched(corner, corner) == (1, 0, 0)
    volume = np.zeros((8, 8, 8), bool)
    volume[1:3, 1:3, 1:3] = volume[5:7, 5:7, 5:7] = True
    assert matched(volume, volume) == (2, 0, 0)


def test_nothing_on_either_side_is_no_figure() -> None:
    task = task_for(ONE)
    assert matched(drawn(), drawn()) == (0, 0, 0)
    found = score(task, drawn()[None].astype(np.int64), drawn()[None].astype(np.int64), [0])
    assert "f1" not in found.figures
    assert "f1" not in task.figures(found.statistics)
    assert task.figures({}) == {}


def test_a_structure_that_nobody_shows_is_left_out_of_the_mean_alone() -> None:
    task, truth = task_for(TWO), drawn((2, 6, 2, 6), (10, 14, 10, 14)).astype(np.int64)[None]
    called = drawn((2, 6, 2, 6)).astype(np.int64)[None]
    found = score(task, called, truth, [0])
    figures = task.figures(found.statistics)
    assert figures["f1"] == figures["f1.nucleus"] == pytest.approx(2 / 3)
    assert "f1.mitosis" not in figures
    assert found.figures["f1"] == pytest.approx(2 / 3, abs=1e-4)


@pytest.mark.parametrize("spec", [ONE, TWO])
def test_counts_of_sites_add_up_and_fit_the_contract(spec: TaskSpec) -> None:
    task, rng = task_for(spec), np.random.default_rng(0)
    most = len(spec.classes) + 1
    truth, called = (np.kron(rng.integers(0, most, (10, 6, 6)), np.ones((1, 4, 4), np.int64)) for _ in range(2))
    called[:5] = truth[:5]
    patients = [0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    whole = score(task, called, truth, patients)
    parts = [
        score(task, called[a], truth[a], p) for a, p in ((slice(0, 5), patients[:5]), (slice(5, 10), [0, 1, 2, 3, 4]))
    ]
    added = metrics.add(part.statistics for part in parts)
    assert [added[name] for name in COUNTS] == [whole.statistics[name] for name in COUNTS]
    found, missed, spurious = (np.array(added[name]) for name in COUNTS)
    f1 = 2 * found / (2 * found + missed + spurious)
    figures = task.figures(added)
    assert figures["f1"] == pytest.approx(f1.mean())
    assert [figures[f"f1.{name}"] for name in spec.classes if most > 2] == pytest.approx(f1.tolist()[: 2 * (most > 2)])
    assert 0 < figures["f1"] < 1
    rules = {rule.name: rule for rule in task.rules()}
    assert all(rules[name].holds(values, patients=9) for name, values in whole.statistics.items())
    assert {name for name, rule in rules.items() if rule.kind == "statistic"} == whole.statistics.keys()
    plain = task_for(spec.model_copy(update={"instances": False}))
    assert type(plain) is Segmentation
    assert {rule.name for rule in plain.rules()} == rules.keys() - {*COUNTS, "f1"}
    base = score(plain, called, truth, patients)
    assert base.statistics == {name: whole.statistics[name] for name in base.statistics}


def test_instances_are_those_of_masks() -> None:
    assert isinstance(task_for(parse_study(STUDY.format(task='kind = "segmentation"')).task), CountedSegmentation)
    with pytest.raises(ConfigError, match=r"task\.instances counts pieces of masks"):
        parse_study(STUDY.format(task="").replace("unet", "basic_cnn"))


@pytest.mark.parametrize("spec", [ONE, TWO])
def test_f1_of_weighted_patients_is_that_of_as_many_patients(spec: TaskSpec) -> None:
    task, rng = task_for(spec), np.random.default_rng(1)
    assert isinstance(task, CountedSegmentation)
    truth, called = (np.kron(rng.integers(0, 2, (4, 6, 6)), np.ones((1, 4, 4), np.int64)) for _ in range(2))
    called[:2] = truth[:2]
    classes = torch.arange(task.outputs) if task.outputs > 1 else torch.ones(1)
    logits = torch.where(torch.from_numpy(called)[:, None] == classes.view(1, -1, 1, 1), 8.0, -8.0)
    measured = task.measure(logits, torch.from_numpy(truth))
    figure, drawn_again = task.f1(measured), [0, 0, 2, 3]
    assert figure is not None
    twice = task.score(measured[drawn_again], truth[:4, :1, 0], model_digest=MODEL, split="test")
    whole = task.score(measured, truth[:, :1, 0], model_digest=MODEL, split="test")
    found = figure(np.array([[2.0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]]))
    assert found[:2] == pytest.approx([task.figures(each.statistics)["f1"] for each in (twice, whole)])
    assert 0 < found[1] < 1 and np.isnan(found[2])
    assert task.f1(np.zeros((3, task.columns), np.float32)) is None
