"""The bench of training: every way trains the same epoch, and its figures are those of the turns that count."""

import json
from io import StringIO

import pytest
import torch
from rich.console import Console

from deploy.bench.train import Ways, run, show


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_every_way_is_timed_and_leaves_torch_as_it_was(device: str) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    data = run(device=device, model="basic_cnn", kinds=((16, 8),), images=16, threads=0, repetitions=2)
    ways = [(row["device"].partition(":")[0], row["way"]) for row in data["rows"]]
    on_the_cpu = [("cpu", "site"), ("cpu", "plain")]
    amp = [("cuda", way) for way in ("site", "plain", "site, AMP", "plain, AMP")]
    assert ways == (on_the_cpu if device == "cpu" else amp + on_the_cpu)
    assert all(0 < row["least_per_s"] <= row["per_s"] <= row["most_per_s"] for row in data["rows"])
    assert all((row["peak_bytes"] > 0) is (row["device"] != "cpu") for row in data["rows"])
    assert json.loads(json.dumps(data)) == data
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    console = Console(file=StringIO(), width=80)
    console.print(show(data))
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert "16 px, 8" in said and max(map(len, said.splitlines())) <= 80


def test_speed_is_the_median_of_the_turns() -> None:
    ways = Ways("basic_cnn", size_px=16, batch=8, images=20)
    assert ways.speeds([2.0, 1.0, 4.0]) == {"per_s": 10.0, "least_per_s": 5.0, "most_per_s": 20.0}
