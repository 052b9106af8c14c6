"""The maps point at what the output rests on, and the page stays in the hospital and says so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from browser import Reader
from torch import nn

from client.prediction.answer import Finding, Prediction
from client.prediction.explained_page import write_page
from client.prediction.explaining import Explained, Maps, explain, last_convolution, views_of
from client.work.device import compute_in_full
from shared.images import ImageSpec
from shared.models import build_model
from shared.networks.spec import ModelSpec
from shared.randomness import StudyRandom


class Corner(nn.Module):
    """A network whose second logit is the brightness of the upper left quarter, and whose first is its contrary."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 1, 3, padding=1)
        self.last = nn.Conv2d(1, 1, 1)
        for layer in (self.first, self.last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.first.weight.data[0, 0, 1, 1] = self.last.weight.data[0, 0, 0, 0] = 1.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        seen = torch.relu(self.last(self.first(images)))
        bright = seen[:, :, :16, :16].mean(dim=(1, 2, 3))
        return torch.stack([-bright, bright], dim=1)


@pytest.fixture
def image() -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.integers(40_000, 65_536, (1, 32, 32)).astype(np.uint16)


def test_occlusion_points_at_the_corner_that_counts(image: np.ndarray) -> None:
    maps = explain(Corner().eval(), image, finding=1, device=torch.device("cpu"))
    assert maps.drop.shape == (32, 32)
    assert maps.drop[:12, :12].mean() > 0.001
    assert np.abs(maps.drop[22:, 22:]).max() < 1e-6
    contrary = explain(Corner().eval(), image, finding=0, device=torch.device("cpu"))
    assert contrary.drop[:12, :12].mean() < -0.001


def test_grad_cam_follows_the_gradient_of_the_class(image: np.ndarray) -> None:
    maps = explain(Corner().eval(), image, finding=1, device=torch.device("cpu"))
    assert (maps.cam.min(), maps.cam.max()) == (pytest.approx(0, abs=1), 1)
    assert np.corrcoef(maps.cam.ravel(), image.ravel())[0, 1] > 0.9  # the map is the picture itself
    assert (
        explain(Corner().eval(), image, finding=0, device=torch.device("cpu")).cam.max() == 0
    )  # nothing speaks for it


def test_a_network_of_the_wheel_is_explained(image: np.ndarray) -> None:
    spec = ModelSpec(name="basic_cnn", norm="group", width=16)
    network = build_model(spec, images=ImageSpec(size_px=32), outputs=2, random=StudyRandom(1)).eval()
    assert last_convolution(network).startswith("features.")
    maps = explain(network, image, finding=1, device=torch.device("cpu"))
    assert np.isfinite(maps.cam).all()
    assert np.abs(maps.drop).max() > 0


@pytest.mark.gpu
@pytest.mark.parametrize("deep", [False, True], ids=["2d", "3d"])
@pytest.mark.parametrize("name", ["basic_cnn", "resnet18", "densenet121", "efficientnet-b0"])
def test_a_gpu_draws_the_maps_of_the_cpu(name: str, deep: bool) -> None:
    images = ImageSpec(size_px=32, slices=32) if deep else ImageSpec(size_px=64)
    network = build_model(ModelSpec(name=name, width=16), images=images, outputs=2, random=StudyRandom(1)).eval()
    pixels = np.random.default_rng(3).integers(0, 65_536, images.shape).astype(np.uint16)
    compute_in_full()
    there = explain(network, pixels, finding=1, device=torch.device("cpu"))
    here = explain(network.to("cuda"), pixels, finding=1, device=torch.device("cuda"))
    assert here.drop == pytest.approx(there.drop, abs=0.02 * np.abs(there.drop).max())
    assert here.cam == pytest.approx(there.cam, abs=0.02)


def test_the_page_says_that_it_stays(image: np.ndarray, tmp_path: Path) -> None:
    finding = Finding(name="opacity", probability=0.8125, called=True)
    rest = {"calibration": "uncalibrated: few", "operating_point": "half", "files": (), "set_aside": {}}
    said = Prediction(exam="<b>1.2", study="chest", model="0" * 64, findings=(finding,), **rest)
    maps = Maps(cam=np.eye(32), drop=np.eye(32) - 0.5)
    explained = Explained(said, 0, 0, views_of(image, maps), (-0.5, 0.5))
    write_page(tmp_path / "page.html", [explained], model="0" * 64)
    page = Reader((tmp_path / "page.html").read_text())
    assert "never released" in page.text and "Research use only, not for diagnosis" in page.text
    assert "<b>1.2" in page.text and "0.812" in page.text
    pictures = [value for name, value in page.attributes if name == "src"]
    assert len(pictures) == len(set(pictures)) == 3
    assert all(value.startswith("data:image/png") for value in pictures)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600


# ------------------------------------------------------------------ volumes


class Ward(nn.Module):
    """A network of volumes whose logit is the brightness of the upper left quarter of the first slices."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv3d(1, 1, 1)
        nn.init.ones_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, volumes: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.last(volumes))[:, :, :8, :16, :16].mean(dim=(2, 3, 4))


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(3).integers(40_000, 65_536, (1, 16, 32, 32)).astype(np.uint16)


def test_the_planes_of_a_volume_go_through_the_place_that_counts(volume: np.ndarray) -> None:
    maps = explain(Ward().eval(), volume, finding=0, device=torch.device("cpu"))
    assert maps.cam.shape == maps.drop.shape == (16, 32, 32)
    slice_, row, column = np.unravel_index(int(maps.drop.argmax()), maps.drop.shape)
    assert slice_ < 8 and row < 16 and column < 16
    axial, coronal, sagittal = views_of(volume, maps, voxel_mm=(4.0, 1.0, 2.0))
    assert [view.name for view in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    np.testing.assert_array_equal(axial.image, volume[:, slice_])
    np.testing.assert_array_equal(coronal.image, volume[:, ::-1, row])
    np.testing.assert_array_equal(sagittal.maps.drop, maps.drop[::-1, :, column])
    assert (axial.height, coronal.height, sagittal.height) == (0.5, 1.0, 2.0)
    assert all(view.maps.drop.max() == maps.drop.max() for view in (axial, coronal, sagittal))


@pytest.mark.parametrize("name", ["basic_cnn", "cnn_gru", "cnn_attention"])
def test_networks_that_see_volumes_are_explained(volume: np.ndarray, name: str) -> None:
    spec = ModelSpec.model_validate({"name": name, "norm": "group", "width": 16})
    images = ImageSpec(size_px=32, slices=16)
    network = build_model(spec, images=images, outputs=2, random=StudyRandom(1)).eval()
    maps = explain(network, volume, finding=1, device=torch.device("cpu"))
    assert maps.cam.shape == maps.drop.shape == (16, 32, 32)
    assert np.isfinite(maps.cam).all() and np.abs(maps.drop).max() > 0
