"""MONAI's own runner gives of real pictures what our own code gives, and no network is spelled out wrongly."""

import gzip
import json
import math
import subprocess
import sys
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import torch
from finished_study import finished_study
from monai_runner import evaluated, run
from PIL import Image
from pydicom.data import get_testdata_file
from volumes_of_two_sites import write_nifti

from client.imaging.dicom import Dicom
from client.imaging.fit import fit, unfit
from client.imaging.from_grid import from_grid
from client.imaging.nifti import NiftiVolumes
from client.imaging.nifti_mask import nifti_mask
from client.imaging.outline import outline
from client.imaging.pictures import Picture
from client.imaging.transforms import to_network
from client.work.inferer import inferer
from server.export import Asked, evidence_for, export_model
from server.export.bundle_network import network_of, scripts_of
from server.federation import load_federation
from shared.calibration import probabilities
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.model_card import Inputs, ModelCard
from shared.models import build_model, load_state, state_arrays
from shared.networks.spec import ModelSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for

IMPORTS = [f"$import {name}" for name in ("collections", "pathlib", "runpy", "torch")]
SLOW = pytest.mark.slow
NETWORKS = [
    *(("basic_cnn", norm) for norm in ("none", "batch")),
    *(pytest.param("basic_cnn", norm, marks=SLOW) for norm in ("group", "instance")),
    *(pytest.param("resnet18", norm, marks=SLOW) for norm in ("batch", "group", "instance")),
    *(pytest.param("densenet121", norm, marks=SLOW) for norm in ("batch", "group")),
    *(pytest.param("efficientnet-b0", norm, marks=SLOW) for norm in ("batch", "instance")),
    *(
        pytest.param(name, norm, marks=SLOW)
        for name in ("unet", "segresnet")
        for norm in ("batch", "group", "instance")
    ),
]


def bundle(root: Path, **how: Any) -> tuple[Path, ModelCard, torch.nn.Module]:
    """The bundle of a finished study, and the network as our own code builds it."""
    made = finished_study(root, **how)
    evidence, _ = evidence_for(made.folder, roster=None)
    key = load_federation(made.place.federation).coordinator_key
    asked = Asked(federation="lung", made="2026-01-03T00:00:00Z")
    done = export_model(made.folder, evidence, asked, to=root / "bundle", form="monai-bundle", key=key)
    random, inputs = StudyRandom(0), done.card.inputs
    network = build_model(inputs.model, images=inputs.images, outputs=inputs.task.outputs, random=random)
    load_state(network, made.state)
    return done.folder, done.card, network.eval()


def ours(network: torch.nn.Module, card: ModelCard, files: list[Path]) -> np.ndarray:
    """The logits of the files as a site computes them."""
    spec = card.inputs.images
    reader = Picture() if spec.hu is None else Dicom(spec.hu)
    images = [fit(next(iter(reader.pixels(file.read_bytes(), [0]))), spec) for file in files]
    with torch.inference_mode():
        return network(to_network(np.stack(images))).numpy()


@pytest.mark.parametrize(
    ("mode", "channels", "how"),
    [
        ("binary", 1, {"model": "basic_cnn", "norm": "group", "size_px": 64}),
        ("multiclass", 3, {"model": "basic_cnn", "norm": "instance", "size_px": 40}),
        pytest.param("multilabel", 3, {"model": "basic_cnn", "norm": "batch", "size_px": 28}, marks=SLOW),
        pytest.param("binary", 3, {"model": "resnet18", "norm": "group", "size_px": 48}, marks=SLOW),
    ],
)
def test_monais_runner_gives_what_our_network_gives(
    tmp_path: Path, shared_data: Path, mode: str, channels: int, how: dict[str, Any]
) -> None:
    folder, card, network = bundle(tmp_path, mode=mode, channels=channels, skew=3.0, **how)
    images = tmp_path / "images"
    images.mkdir()
    for file in sorted((shared_data / "ham10000_sites" / "jpeg_200x150").rglob("*.jpg"))[:5]:
        (images / file.name).symlink_to(file)
    found = run(folder, images, tmp_path / "out")
    files = [Path(one["image"]) for one in found]
    assert len(files) == 5
    expected = ours(network, card, files)
    assert np.ptp(expected) > 1e-3  # the pictures are told apart
    assert np.abs(np.array([one["logits"] for one in found]) - expected).max() < 1e-4
    margins, _ = task_for(card.inputs.task).one_vs_rest(expected, np.zeros(expected.shape, np.int64))
    shares = probabilities(margins, card.calibration.scalings, exclusive=mode == "multiclass")
    assert card.calibration.kind == "platt"
    assert np.abs(np.array([one["probabilities"] for one in found]) - shares).max() < 1e-4


@pytest.mark.parametrize("mode", ["multiclass", pytest.param("binary", marks=SLOW)])
def test_monais_runner_outlines_what_our_network_outlines(tmp_path: Path, shared_data: Path, mode: str) -> None:
    folder, card, network = bundle(tmp_path, kind="segmentation", mode=mode, channels=3, model="segresnet", size_px=48)
    images = tmp_path / "images" / "deep"
    images.mkdir(parents=True)
    for file in sorted((shared_data / "ham10000_sites" / "jpeg_200x150").rglob("*.jpg"))[:3]:
        (images / file.name).symlink_to(file)
    found = run(folder, tmp_path / "images", tmp_path / "out")
    files = [Path(one["image"]) for one in found]
    expected, logits = ours(network, card, files), np.stack(evaluated(folder, tmp_path / "images"))
    assert np.ptp(expected) > 1e-3 and np.abs(logits - expected).max() < 1e-4
    for file, one, said in zip(files, expected, found, strict=True):
        with Image.open(said["mask"]) as picture, Image.open(file) as original:
            mask, (width, height) = np.asarray(picture), original.size
        size = (height, width)
        wanted = outline(
            one, lambda share, to=size: [unfit(share, to, to=to)], shape=size, several=mode == "multiclass"
        )
        assert (mask == wanted * (255 if mode == "binary" else 1)).mean() > 0.999
        assert sum(said["pixels"].values()) == np.count_nonzero(mask)


def ct(folder: Path) -> Path:
    """A folder of CT: one that pydicom brings along, upright and on its side, and as a 12-bit scanner stores it."""
    folder.mkdir()
    image = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    image.save_as(folder / "one.dcm")
    stored = image.pixel_array
    image.PixelData, image.Rows = stored[20:97].tobytes(), 77
    image.save_as(folder / "IM0002")  # many archives name no ending
    image.RescaleSlope, image.RescaleIntercept, image.PixelRepresentation = "0.5", "-600", 0
    image.PixelData, image.Columns = (stored[20:97, :51] % 4096).astype("<u2").tobytes(), 51
    image.save_as(folder / "three.dcm")
    (folder / "labels.csv").write_text("file,label\n")
    return folder


@pytest.mark.parametrize("channels", [1, pytest.param(3, marks=SLOW)])
def test_monais_runner_sees_single_images_of_ct_in_the_studys_window(tmp_path: Path, channels: int) -> None:
    how = {"channels": channels, "size_px": 40, "images": "hu = [-160, 240]"}
    folder, card, network = bundle(tmp_path, **how)
    found = run(folder, ct(tmp_path / "images"), tmp_path / "out")
    expected = ours(network, card, [Path(one["image"]) for one in found])
    assert len(found) == 3 and np.ptp(expected) > 1e-3
    assert np.abs(np.array([one["logits"] for one in found]) - expected).max() < 1e-4
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert metadata["required_packages_version"].keys() == {"pillow", "pydicom", "safetensors"}


@pytest.mark.slow
def test_monais_runner_outlines_single_images_of_ct_on_their_own_pixels(tmp_path: Path) -> None:
    how = {"kind": "segmentation", "model": "segresnet", "size_px": 48, "images": "hu = [-160, 240]"}
    folder, card, network = bundle(tmp_path, **how)
    found = run(folder, ct(tmp_path / "images"), tmp_path / "out")
    expected = ours(network, card, [Path(one["image"]) for one in found])
    assert np.abs(np.stack(evaluated(folder, tmp_path / "images")) - expected).max() < 1e-4
    for one, said in zip(expected, found, strict=True):
        size = pydicom.dcmread(said["image"]).pixel_array.shape
        wanted = outline(one, lambda share, to=size: [unfit(share, to, to=to)], shape=size, several=False)
        with Image.open(said["mask"]) as mask:
            assert (np.asarray(mask) == wanted * 255).mean() > 0.999


def of_volumes(network: torch.nn.Module, card: ModelCard, files: list[Path]) -> np.ndarray:
    """The logits of NIfTI files as a site computes them."""
    spec = card.inputs.images
    read = [fit(next(iter(NiftiVolumes(spec).pixels(file.read_bytes(), [0]))), spec) for file in files]
    with torch.inference_mode():
        return inferer(spec.patch, device="cpu")(network, to_network(np.stack(read))).numpy()


def test_monais_runner_sees_a_volume_as_our_network_sees_it(tmp_path: Path) -> None:
    images = write_nifti(tmp_path / "data", splits=["test"] * 3).images
    assert images is not None
    grid = "slices = 16\nspacing_mm = [3, 4, 5]\nhu = [-1000, 500]"  # coarser, finer, and with places outside
    folder, card, network = bundle(tmp_path, size_px=24, images=grid)
    found = run(folder, images, tmp_path / "out")
    expected = of_volumes(network, card, [Path(one["image"]) for one in found])
    assert len(found) == 3 and np.ptp(expected) > 1e-3
    assert np.abs(np.array([one["logits"] for one in found]) - expected).max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["binary", "multiclass"])
@pytest.mark.parametrize(
    "grid",
    [
        "slices = 32",
        "slices = 32\nspacing_mm = [1, 1, 2]",
        "slices = 40\nspacing_mm = [1, 1, 2]\n[images.patch]\nsize_px = 16\nslices = 16\noverlap = 0.5",
    ],
)
def test_monais_runner_outlines_real_scans_on_their_own_voxels(
    tmp_path: Path, shared_data: Path, mode: str, grid: str
) -> None:
    how = {"kind": "segmentation", "mode": mode, "model": "unet", "size_px": 32, "images": grid}
    folder, card, network = bundle(tmp_path, **how)
    images = tmp_path / "images"
    for name in ("t1/t1w", "t2/t2", "mt/mt0"):
        link = images / f"{name}.nii.gz"
        link.parent.mkdir(parents=True)
        link.symlink_to(shared_data / "nifti" / "spinalcord_sct" / f"{name}.nii.gz")
    found, logits = run(folder, images, tmp_path / "out"), np.stack(evaluated(folder, images))
    files = [Path(one["image"]) for one in found]
    expected = of_volumes(network, card, files)
    assert np.ptp(expected) > 1e-3 and np.abs(logits - expected).max() < 1e-4
    for file, one, said in zip(files, expected, found, strict=True):
        data, mask = file.read_bytes(), nibabel.load(said["mask"])
        scan = NiftiVolumes(card.inputs.images).facts(data).scan
        own = partial(from_grid, scan=scan, images=card.inputs.images)
        ours = nifti_mask(data, outline(one, own, shape=scan.counts, several=mode == "multiclass"), words="")
        wanted = nibabel.Nifti1Image.from_bytes(gzip.decompress(ours))
        assert mask.shape == wanted.shape == nibabel.load(file).shape and np.allclose(mask.affine, wanted.affine)
        assert (np.asarray(mask.dataobj) == np.asarray(wanted.dataobj)).mean() > 0.999
        assert sum(said["voxels"].values()) == np.count_nonzero(np.asarray(mask.dataobj)) > 0


@pytest.mark.parametrize(("name", "norm"), NETWORKS)
def test_every_network_of_the_wheel_is_spelled_out(name: Any, norm: Any) -> None:
    side = 72 if norm == "instance" and name == "efficientnet-b0" else 40  # of one place there is nothing to norm
    check_spelled_out(name, norm, ImageSpec(size_px=side, channels=3))


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        *(("basic_cnn", norm) for norm in ("group", "instance")),
        *(pytest.param(name, "group", marks=SLOW) for name in ("resnet18", "unet")),
    ],
)
def test_a_network_that_sees_volumes_is_spelled_out(name: Any, norm: Any) -> None:
    check_spelled_out(name, norm, ImageSpec(size_px=40, slices=32))


@pytest.mark.parametrize(("name", "norm"), [("cnn_gru", "batch"), ("cnn_attention", "none")])
def test_a_network_of_series_is_the_module_of_the_wheel(tmp_path: Path, name: Any, norm: Any) -> None:
    """Which runs where there is no Wardround: it imports torch alone."""
    script = write_scripts(tmp_path, name)
    apart = (sys.executable, "-I", "-c", f"import runpy; print(runpy.run_path({str(script)!r})['SEEN'])")
    assert subprocess.run(apart, cwd=tmp_path, capture_output=True, text=True, check=True).stdout == "64\n"
    imported = [line for line in script.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert imported == ["import torch", "from torch import Tensor, nn"]
    check_spelled_out(name, norm, ImageSpec(size_px=40, slices=9), root=tmp_path)


@pytest.mark.parametrize("model", ["cnn_gru", pytest.param("cnn_attention", marks=SLOW)])
def test_monais_runner_reads_a_series_as_our_network_reads_it(tmp_path: Path, model: str) -> None:
    images = write_nifti(tmp_path / "data", splits=["test"] * 2).images
    assert images is not None
    folder, card, network = bundle(tmp_path, model=model, size_px=24, images="slices = 16\nspacing_mm = [3, 4, 5]")
    found = run(folder, images, tmp_path / "out")
    expected = of_volumes(network, card, [Path(one["image"]) for one in found])
    assert len(found) == 2 and np.ptp(expected) > 1e-4
    assert np.abs(np.array([one["logits"] for one in found]) - expected).max() < 1e-4
    signed = json.loads((folder / "manifest.json").read_text())["files"]
    assert "scripts/series.py" in signed and sorted(path.name for path in folder.glob("scripts/*")) == ["series.py"]


def write_scripts(root: Path, name: str) -> Path:
    """The code of a bundle of such a network."""
    ((path, content),) = scripts_of(name).items()
    (root / path).parent.mkdir()
    (root / path).write_bytes(content)
    return root / path


def check_spelled_out(name: Any, norm: Any, spec: ImageSpec, *, root: Path = Path()) -> None:
    from monai.bundle import ConfigParser

    if name in ("unet", "segresnet"):
        task = TaskSpec(kind="segmentation", mode="multiclass", classes=("a", "b"))
    else:
        task = TaskSpec(mode="multilabel", classes=("a", "b"))
    inputs = Inputs(task=task, images=spec, model=ModelSpec(name=name, norm=norm))
    mine = build_model(inputs.model, images=spec, outputs=task.outputs, random=StudyRandom(4)).eval()
    parser = ConfigParser({"imports": IMPORTS, "bundle_root": str(root), **network_of(inputs)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = parser.get_parsed_content("network_def").eval()
    assert state_arrays(theirs).keys() == state_arrays(mine).keys()
    load_state(theirs, state_arrays(mine))
    with torch.inference_mode():
        images = torch.linspace(-1, 1, 2 * math.prod(spec.shape)).reshape(2, *spec.shape)
        assert torch.allclose(theirs(images), mine(images), atol=1e-6)


def test_the_metadata_names_what_the_runner_needs(tmp_path: Path) -> None:
    folder, card, _ = bundle(tmp_path)
    metadata = json.loads((folder / "configs" / "metadata.json").read_text())
    assert metadata["monai_version"] == version("monai")
    assert metadata["network_data_format"]["outputs"]["pred"]["channel_def"] == {"0": "opacity"}
    assert card.notice in metadata["description"]
    from monai.bundle import ConfigWorkflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        configs = folder / "configs"
        flow = ConfigWorkflow(
            config_file=str(configs / "inference.json"),
            meta_file=str(configs / "metadata.json"),
            workflow_type="infer",
            **{"bundle_root": str(folder), "dataset_dir": str(tmp_path)},
        )
        flow.initialize()
        assert flow.check_properties() == []


def test_monais_runner_brings_images_onto_the_studys_scale(tmp_path: Path) -> None:
    folder, card, network = bundle(tmp_path, size_px=32, images="landmarks = [0.1, 0.4, 0.8]")
    images = tmp_path / "images"
    images.mkdir()
    dim = np.random.default_rng(0).integers(0, 60, (40, 50), dtype=np.uint8)
    two = np.where(np.arange(50) < 10, 90, 255).astype(np.uint8) + np.zeros((50, 1), np.uint8)  # 50 and 95 are white
    for name, pixels in {"dim": dim, "two": two, "flat": 0 * dim + 9, "black": 0 * dim}.items():
        Image.fromarray(pixels).save(images / f"{name}.png")
    found = run(folder, images, tmp_path / "out")
    expected = ours(network, card, [Path(one["image"]) for one in found])
    assert len(found) == 4 and np.ptp(expected) > 1e-3
    assert np.abs(np.array([one["logits"] for one in found]) - expected).max() < 1e-4


def test_a_model_that_takes_clinical_columns_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="clinical columns") as refused:
        bundle(tmp_path, extra="[clinical.age]\nlow = 0\nhigh = 120")
    assert "--format safetensors" in refused.value.remedy and "onnx" in refused.value.remedy
