"""The privacy benchmark: the bound that it measures, the noise that it asks for, and a small run of all of it."""

import json
import os
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from tiny_federation import images
from typer.testing import CliRunner

import deploy.bench.command as bench
from client.imaging.examples import Examples
from deploy.bench.privacy import epsilons_of, known_images, missed, run, show
from deploy.bench.private_study import DELTA, noise_for, setting_of
from deploy.bench.sensitivity import SIZES, holds, measure
from shared.errors import ConfigError
from shared.privacy import Mechanism, epsilon_of
from shared.study import parse_study

PLAIN = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
STUDY = """\
[study]
name = "tiny"
[task]
classes = ["bright"]
[images]
size_px = 16
[model]
width = 8
[training]
steps_per_round = 1
"""


def shown(data: dict[str, Any]) -> str:
    console = Console(file=StringIO(), width=100)
    console.print(show(data))
    return console.file.getvalue()  # type: ignore[attr-defined]


# ------------------------------------------------------------------ the bound


def test_one_patient_changes_the_sum_by_one_clip_norm_however_many_images_it_has() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 65536, (sum(SIZES), 1, 16, 16), dtype=np.uint16)
    some = Examples(pixels, np.arange(sum(SIZES)) % 2, np.arange(sum(SIZES)))
    found = measure(parse_study(STUDY), some)
    assert found["holds"]
    assert found["removed"] == pytest.approx([1.0] * len(SIZES), abs=1e-3)
    assert found["duplicated"] == pytest.approx({"2": 1.0, "5": 1.0}, abs=1e-3)


def test_a_bound_that_is_passed_and_one_that_was_never_reached_do_not_hold() -> None:
    assert holds([1.0, 0.4])
    assert not holds([1.0, 7.0])
    assert not holds([0.4, 0.3])  # nothing was clipped, so nothing was shown


def test_too_few_images_are_a_bad_argument() -> None:
    few = Examples(np.zeros((3, 1, 16, 16), np.uint16), np.zeros(3, np.int64), np.arange(3))
    with pytest.raises(ValueError, match="14 images"):
        measure(parse_study(STUDY), few)


# ------------------------------------------------------------------ what is asked


@pytest.mark.parametrize("epsilon", [0.5, 8.0])
def test_the_noise_is_the_least_that_keeps_to_the_epsilon(epsilon: float) -> None:
    noise = noise_for(epsilon, rate=0.2, steps=60)
    assert noise is not None

    def cost(multiplier: float) -> float:
        run = Mechanism(noise_multiplier=multiplier, sampling_rate=0.2, images_per_patient=4, steps=60)
        return epsilon_of((run,), delta=DELTA)

    assert cost(noise) <= epsilon < cost(noise / 1.002)


def test_an_infinite_epsilon_asks_for_no_privacy_and_for_as_many_steps(tmp_path: Path) -> None:
    images(tmp_path, ["one"])
    setting = setting_of(tmp_path / "one.npz", tmp_path / "cast", scheme="iid", sites=2, rounds=3, rate=0.5)
    assert noise_for(float("inf"), rate=0.5, steps=setting.steps) is None
    plain, private = setting.asked(seed=1, noise=None), setting.asked(seed=1, noise=2.0)
    assert plain.privacy is None
    assert private.privacy is not None
    assert private.privacy.patients_per_step == 4  # half of the eight patients that a site trains on
    assert plain.training is not None and private.training is not None
    assert plain.training.steps_per_round == private.training.steps_per_round == setting.steps / 3


@pytest.mark.parametrize("text", ["", "8,none", "0", "-1,inf", "nan"])
def test_what_is_no_epsilon_is_refused(text: str) -> None:
    done = CliRunner().invoke(bench.app, ["privacy", "--epsilon", text, "--json"], env=PLAIN)
    assert done.exit_code == ConfigError.exit_code
    assert "--epsilon 8,inf" in json.loads(done.stdout)["error"]["remedy"]


def test_known_images_are_where_the_tests_find_them(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WARDROUND_DATA", str(shared_data))
    assert known_images() == shared_data / "pneumoniamnist" / "pneumoniamnist.npz"
    monkeypatch.setenv("WARDROUND_DATA", str(shared_data / "nothing"))
    assert known_images() is None


# ------------------------------------------------------------------ what is promised


def test_what_was_promised_and_not_kept_is_said() -> None:
    point = {"epsilon": 8.0, "epsilon_spent": 8.05}
    plain = {"epsilon": "inf", "epsilon_spent": None}
    assert list(missed({"duplicated_patient_bound_holds": True, "points": [plain, point]})) == []
    dear = {"epsilon": 1.0, "epsilon_spent": 1.2}
    bound, paid = missed({"duplicated_patient_bound_holds": False, "points": [point, dear]})
    assert "more than one clip norm" in bound
    assert "paid 1.20" in paid


@pytest.mark.slow
@pytest.mark.usefixtures("flower_process")
def test_a_small_run_has_an_interval_for_each_epsilon(tmp_path: Path) -> None:
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    squares = rng.integers(0, 120, (200, 16, 16), dtype=np.uint8) + (100 * labels[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "squares.npz", images=squares, labels=labels)
    file = tmp_path / "squares.npz"
    data = run(epsilons=epsilons_of("8,inf"), npz=file, scheme="iid", sites=2, rounds=2, rate=0.5, seeds=2)
    assert (data["unit"], data["duplicated_patient_bound_holds"]) == ("patient", True)
    plain, private = data["points"]
    assert (plain["epsilon"], plain["epsilon_spent"], plain["noise_multiplier"]) == ("inf", None, None)
    assert 7.8 < private["epsilon_spent"] <= 8.0 * 1.01
    for point in data["points"]:
        low, high = point["interval"]
        assert low <= point["auroc"] <= high
        assert point["auroc"] == pytest.approx(np.mean([one["auroc"] for one in point["seeds"]]), abs=1e-4)
        assert [one["seed"] for one in point["seeds"]] == [0, 1]
    assert private["minus_plain"]["auroc"] == pytest.approx(private["auroc"] - plain["auroc"], abs=2e-4)
    assert list(missed(data)) == []
    assert "squares.npz, 2 sites" in shown(json.loads(json.dumps(data, allow_nan=False)))
