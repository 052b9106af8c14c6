"""ONNX Runtime gives what our own network gives, of every kind of study, from a package that is signed whole."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from finished_study import Finished, finished_study

from client.prediction.released_model import load_released
from server.export import Asked, Exported, evidence_for, export_model
from server.export.onnx_form import MODEL, README, TOLERANCE
from server.federation import load_federation
from shared.calibration import probabilities
from shared.errors import ConfigError, TrustError
from shared.model_package import open_package
from shared.tasks import task_for

PATCH = "[images.patch]\nsize_px = 32"
AGE = '[clinical.age]\nunit = "years"\nlow = 0\nhigh = 120\nmean = 50\nsd = 10'
SEX = '[clinical.sex]\nkind = "category"\nvalues = ["female", "male", "other"]'


def exported(made: Finished, to: Path) -> Exported:
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(made.place.federation).coordinator_key
    asked = Asked(federation="lung", made="2026-01-03T00:00:00Z")
    return export_model(made.folder, evidence, asked, to=to, form="onnx", key=key)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "how"),
    [
        ("binary", {}),
        ("multiclass", {"channels": 3, "norm": "instance", "size_px": 40}),
        ("multilabel", {"model": "resnet18", "norm": "batch", "size_px": 48}),
        ("binary", {"size_px": 24, "images": "slices = 16"}),
        ("multiclass", {"kind": "segmentation", "model": "unet", "channels": 3, "size_px": 48}),
        ("binary", {"kind": "segmentation", "model": "unet", "size_px": 64, "images": PATCH}),
        ("binary", {"model": "cnn_gru", "size_px": 32, "images": "slices = 8"}),
        ("multiclass", {"extra": f"{AGE}\n{SEX}"}),
    ],
)
def test_onnx_runtime_gives_what_our_network_gives(tmp_path: Path, mode: str, how: dict[str, Any]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    made = finished_study(tmp_path, mode=mode, skew=3.0, **how)
    done = exported(made, tmp_path / "package")
    public = load_federation(made.place.federation).coordinator_key.public_key()
    released, card = load_released(done.folder, coordinator=public, device="cpu"), done.card
    given = {"image": np.random.default_rng(5).uniform(-1, 1, (4, *card.inputs.images.seen)).astype(np.float32)}
    if card.inputs.clinical:
        given["clinical"] = np.array([[70, 1], [np.nan, 0], [20, np.nan], [np.nan, np.nan]], np.float32)
    data = (done.folder / MODEL).read_bytes()
    said = runtime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, given)
    with torch.inference_mode():
        expected = released.network(*map(torch.from_numpy, given.values())).numpy()
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(said[0], expected, rtol=TOLERANCE, atol=TOLERANCE)
    assert len(said) == (1 if released.masks else 2)
    if not released.masks:
        margins, _ = task_for(card.inputs.task).one_vs_rest(expected, np.zeros(expected.shape, np.int64))
        shares = probabilities(margins, card.calibration.scalings, exclusive=mode == "multiclass")
        assert card.calibration.kind == "platt" and np.abs(said[1] - shares).max() < TOLERANCE
    assert not any(word in data for word in (b"site-packages", b'File "', str(tmp_path).encode()))
    readme = (done.folder / README).read_text(encoding="utf-8")
    assert card.preprocessing[-1] in readme
    asked = "- age: a number from 0 to 120 years\n- sex: 0 female, 1 male, 2 other\n"
    assert (asked in readme) == bool(card.inputs.clinical)
    assert ("takes `image`, n x 1 x 32 x 32" in readme and "image of 64 x 64" in readme) == (how.get("images") == PATCH)
    assert {MODEL, README} < set(done.files)
    (done.folder / MODEL).write_bytes(data[:-1])
    with pytest.raises(TrustError):
        open_package(done.folder, coordinator=public)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match="ONNX is not installed") as refused:
        exported(finished_study(tmp_path), tmp_path / "package")
    assert refused.value.remedy == "Install it: pip install 'wardround[onnx]'."
    assert not (tmp_path / "package").exists()
