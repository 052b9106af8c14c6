"""The demo's comparison on three classes: macro one-vs-rest, one set of resamples for all classes."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from client.imaging.cache import prepare
from client.imaging.examples import SiteData
from client.imaging.settings import DataSettings
from deploy.demo.compare import Comparison, Scored
from server.launch import start_state
from shared.study import Study, parse_study
from shared.update import pack

STUDY = """\
[study]
name = "three"
[task]
mode = "multiclass"
classes = ["dark", "grey", "bright"]
[images]
size_px = 28
[model]
width = 8
[training]
steps_per_round = 20
batch_size = 16
[rounds]
count = 1
"""


def site(root: Path, study: Study, seed: int) -> SiteData:
    """Images whose brightness is their class, one patient each."""
    rng, arrays = np.random.default_rng(seed), {}
    for split, count in {"train": 60, "val": 12, "test": 30}.items():
        labels = np.arange(count) % 3
        noise = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_images"] = noise + (90 * labels[:, None, None]).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    file = root / f"{seed}.npz"
    np.savez(file, **arrays)
    settings = DataSettings(kind="npz", file=file)
    return prepare(
        settings, task=study.task, images=study.images, salt=bytes(32), base=root, cache=root / f"cache-{seed}"
    )


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, Path]:
    root, study = tmp_path_factory.mktemp("compare"), parse_study(STUDY)
    start = root / "start.safetensors"
    start.write_bytes(pack(start_state(study)))
    return Comparison(study, {"a": site(root, study, 1), "b": site(root, study, 2)}, start=start), start


def test_a_model_that_ranks_every_class_right_is_perfect_whatever_its_first_logit_says(
    comparison: tuple[Comparison, Path],
) -> None:
    """The logit of class 0 against `truth == 1` would give 0.25 here."""
    truth = np.tile(np.arange(30) % 3, 2)
    sure = 8.0 * np.eye(3, dtype=np.float32)[truth]
    figures = comparison[0]._figures(Scored(sure, sure[:24]))
    assert (figures["auroc"], figures["macro_auroc"], figures["low"], figures["high"]) == (1.0, 1.0, 1.0, 1.0)
    assert figures["balanced_accuracy"] == 1.0  # the likeliest class is called; there is no threshold


def test_the_figure_is_the_macro_mean_over_classes(comparison: tuple[Comparison, Path]) -> None:
    truth = np.tile(np.arange(30) % 3, 2)
    rng = np.random.default_rng(0)
    logits = (np.eye(3)[truth] + rng.standard_normal((60, 3))).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    figures = comparison[0]._figures(Scored(logits, logits[:24]))
    expected = np.mean([roc_auc_score(truth == c, shares[:, c]) for c in range(3)])
    assert figures["macro_auroc"] == pytest.approx(expected, abs=1e-4)
    assert figures["low"] < figures["macro_auroc"] < figures["high"]


def test_the_whole_comparison_of_three_classes(comparison: tuple[Comparison, Path]) -> None:
    found = comparison[0].run(comparison[1])
    assert found["test_patients"] == 60
    assert found["pooled"]["macro_auroc"] > 0.7  # brightness is easily learnt
    gap = found["pooled_minus_federated"]
    difference = found["pooled"]["macro_auroc"] - found["federated"]["macro_auroc"]
    assert gap["macro_auroc"] == gap["auroc"] == pytest.approx(difference, abs=2e-4)
