"""The field of nuclei that docs/methods.md measures: how it is cut, and how a demo shows what was counted in it."""

import io
import runpy
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from scipy.ndimage import label

from client.imaging.cache import prepare
from client.imaging.examples import SiteData
from client.imaging.settings import DataSettings
from deploy.demo.cast import own_cast
from deploy.demo.command import show
from deploy.demo.compare import Comparison, Scored
from server.launch import start_state
from shared.study import Study
from shared.update import pack

METHODS = Path(__file__).parents[2] / "docs" / "methods"


def tiff(values: np.ndarray[Any, Any]) -> bytes:
    """As the wheel holds pictures: 16 bits, one page."""
    stream = io.BytesIO()
    Image.fromarray(values.astype(np.uint16)).save(stream, "TIFF")
    return stream.getvalue()


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An array file of a drawn field: nuclei of 12 pixels, every second of which touches the one to its right."""
    root, numbered = tmp_path_factory.mktemp("nuclei"), np.zeros((512, 512), np.uint16)
    for number, (row, column) in enumerate(np.ndindex(16, 16), start=1):
        left = 32 * column + (10 if column % 2 == 0 else -10)
        numbered[32 * row + 10 : 32 * row + 22, left : left + 12] = number
    with zipfile.ZipFile(root / "images.whl", "w") as wheel:
        wheel.writestr("stardist/data/images/img2d.tif", tiff(np.where(numbered > 0, 180, 20)))
        wheel.writestr("stardist/data/images/mask2d.tif", tiff(numbered))
    runpy.run_path(str(METHODS / "nuclei.py"))["main"](str(root / "images.whl"), str(root / "nuclei.npz"))
    return root / "nuclei.npz"


def test_no_tile_to_test_on_touches_one_to_train_on_and_touching_nuclei_are_two_pieces(cut: Path) -> None:
    with np.load(cut) as arrays:
        images, masks, split, site = (arrays[name] for name in ("images", "masks", "split", "site"))
        assert len(np.unique(arrays["patient"])) == len(images) == 64
    assert images.dtype == np.uint8 and set(np.unique(images)) == {20, 180}
    assert [label(mask, np.ones((3, 3)))[1] for mask in masks] == [4] * 64
    assert (masks <= (images == 180)).all()
    places = np.stack(np.divmod(np.arange(64), 8), axis=1)
    apart = abs(places[split == "test"][:, None] - places[split == "train"]).max(axis=2)
    assert apart.min() == 2  # tiles; 1 is a neighbour, at a corner, too
    assert {name: (split[site == name] == "train").sum() for name in ("upper", "lower")} == {"upper": 20, "lower": 20}


def test_a_demo_shows_f1_with_its_interval(cut: Path, tmp_path: Path) -> None:
    cast = own_cast(tmp_path, cut, study=METHODS / "nuclei.toml", scheme="natural", sites=None, seed=0)
    study, start = cast.study, tmp_path / "start.safetensors"
    start.write_bytes(pack(start_state(study)))
    sites = {name: images(settings, study, tmp_path / name) for name, settings in cast.data.items()}
    comparison = Comparison(study, sites, start=start)
    truth = torch.from_numpy(np.concatenate([np.asarray(sites[name].test.masks) for name in sorted(sites)])).long()
    called = torch.where(truth > 0, 1.0, -1.0)[:, None]
    called[:6, :, :32] = -1  # of six tiles the upper half is not seen, and with it two nuclei of four
    measured = comparison._task.measure(called, truth)
    scored = Scored(measured, measured[:8])
    row = comparison._figures(scored)
    assert row["f1"] == pytest.approx(2 * 52 / (2 * 52 + 12), abs=1e-4)
    assert 0 < row["f1_low"] < row["f1"] < row["f1_high"] < 1
    found = {"federated": row, "pooled": row, "local": [{"site": name, **row} for name in sites], "test_patients": 16}
    found |= {"pooled_minus_federated": comparison._difference(scored, scored), "ledgers": {"upper": "ledger"}}
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(show(found | {"report": "a", "model": "b", "sites": 2, "bytes_up": 1, "bytes_down": 1, "wall_s": 1}))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["model", "Dice", *("95", "%", "interval"), "HD95", "F1", *("95", "%", "interval")]
    assert all(f"{row['f1']:.3f}  {row['f1_low']:.3f} to {row['f1_high']:.3f}" in line for line in lines[1:5])


def images(settings: DataSettings, study: Study, cache: Path) -> SiteData:
    """A site's tiles, prepared for the study."""
    how = {"task": study.task, "images": study.images, "salt": bytes(16), "base": cache, "cache": cache / "cache"}
    return prepare(settings, **how)
