"""The methods benchmark: ours beside Flower's, and every method on the same images."""

from pathlib import Path

import pytest
from tiny_federation import images

from deploy.bench.methods import METHODS, missed, run, show, varied
from shared.errors import ConfigError
from shared.study import parse_study

pytestmark = pytest.mark.usefixtures("flower_process")

STUDY = """\
[study]
name = "tiny"
[task]
classes = ["bright"]
[training]
epochs_per_round = 1
"""
CASE = {
    "seed": 1,
    "advised": "scaffold",
    "methods": {
        "fedavg": {"auroc": {"value": 0.9, "low": 0.8, "high": 1.0}, "balanced_accuracy": None},
        "scaffold": {"auroc": {"value": 0.92, "low": 0.8, "high": 1.0}, "balanced_accuracy": None},
    },
    "largest_move": {"fedavg": 0.2, "scaffold": 0.3},
    "minus_fedavg": {"scaffold": {"auroc": {"value": 0.02, "low": -0.01, "high": 0.05}, "balanced_accuracy": None}},
}


def test_without_a_file_only_the_optimizers_are_compared() -> None:
    data = run(npz=None, scheme="iid", sites=2, rounds=1, seeds=1)
    assert data["flower"].keys() == {"fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"}
    assert data["seeds"] == []
    assert list(missed(data)) == []


def test_every_method_is_a_study_that_can_be_asked() -> None:
    study = parse_study(STUDY)
    digests = {name: varied(study, name).digest() for name in METHODS}
    assert len(set(digests.values())) == len(METHODS)
    assert digests["fedavg"] == study.digest()


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match="fedsomething"):
        run(npz=None, scheme="iid", sites=2, rounds=1, seeds=1, methods=("fedsomething",))


def test_what_was_promised_and_not_kept_is_said() -> None:
    data = {"flower": {"fedadam": 2e-6, "fedyogi": float("nan")}, "aim": 0.93, "seeds": [CASE]}
    assert len(list(missed(data))) == 3
    assert list(missed({"flower": {"fedadam": 1e-7}, "aim": 0.91, "seeds": [CASE]})) == []
    assert list(missed({"flower": {}, "aim": None, "seeds": [CASE]})) == []
    show(data)


def test_methods_are_compared_on_the_same_patients(tmp_path: Path) -> None:
    images(tmp_path, ["one"])
    data = run(
        npz=tmp_path / "one.npz", scheme="iid", sites=2, rounds=1, seeds=1, methods=("fedavg", "fedbn", "scaffold")
    )
    (case,) = data["seeds"]
    assert case["methods"].keys() == {"fedavg", "fedbn", "scaffold"}
    assert case["minus_fedavg"].keys() == {"fedbn", "scaffold"}
    assert case["labels"].keys() == {"site-1", "site-2"}
    for name, less in case["minus_fedavg"].items():
        for figure in ("auroc", "balanced_accuracy"):
            exact = case["methods"][name][figure]["value"] - case["methods"]["fedavg"][figure]["value"]
            assert less[figure]["value"] == pytest.approx(exact, abs=2e-4)
