"""Where a released model looked: Grad-CAM and occlusion of an exam's image or volume, for the hospital's own eyes.

Decides what is explained: of an exam the likeliest class, on the image whose logit for it is highest. Grad-CAM
(Selvaraju et al., ICCV 2017) weighs the maps of the last convolution by the class's gradient; occlusion (Zeiler and
Fergus, ECCV 2014) blurs a patch towards grey and asks how far the class's logit falls. Both are MONAI's. They show
where the output depends on the image, and not why, nor whether it is right.

Of a volume three planes alone are kept, axial, coronal and sagittal, through the place where occlusion costs most.
"""

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.imaging.grid import study_spacing
from client.imaging.transforms import to_network
from client.prediction.answer import Prediction
from client.prediction.read_exam import ReadExam, Seen
from client.prediction.released_model import ReleasedModel
from shared.images import ImageSpec
from shared.metrics import Floats

_PATCHES = {2: 8, 3: 4}  # along an edge of an image, and of a volume, whose number of patches is their cube
_OVERLAP = 0.5
_TOGETHER = 12  # images with a patch hidden, at once
_PLACES = 2**22  # of all of them
_PLANES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True)
class Maps:
    """Of the image's size each: `cam` in 0..1, `drop` in logits, above 0 where the class rests on the patch."""

    cam: Floats
    drop: Floats


@dataclass(frozen=True)
class View:
    """What is shown of an image: itself, or one plane of a volume.

    Attributes:
        name: of the plane; empty of an image.
        image: (channels, rows, columns).
        maps: (rows, columns) each.
        height: of a picture of it that is 1 wide.
    """

    name: str
    image: NDArray[np.uint16] = field(repr=False)
    maps: Maps = field(repr=False)
    height: float = 1.0


@dataclass(frozen=True)
class Explained:
    """One exam: the answer, the class that is explained, which image of the exam, and its views.

    `drop` is how far occlusion makes the class's logit fall, at the least and at most, over all of the image.
    """

    said: Prediction
    finding: int
    number: int
    views: tuple[View, ...] = field(repr=False)
    drop: tuple[float, float]


class Gallery:
    """Explains the first exams that it hears of.

    Args:
        model: checked; its network is left as it is.
        most: exams that are explained.
    """

    def __init__(self, model: ReleasedModel, *, most: int) -> None:
        self._model, self._network, self._most = model, copy.deepcopy(model.network), most
        self.explained: list[Explained] = []

    def hear(self, said: Prediction, exam: ReadExam, logits: Sequence[Floats]) -> None:
        """An exam was answered; `logits` are (outputs,) of each of its images."""
        if len(self.explained) >= self._most:
            return
        finding = max(range(len(said.findings)), key=lambda n: said.findings[n].probability)
        number = max(range(len(logits)), key=lambda n: float(logits[n][finding]))
        seen = exam.images[number]
        seeing = _Beside(self._network, self._model.beside([exam.clinical]))
        maps = explain(seeing, seen.image, finding=finding, device=self._model.device)
        views = views_of(seen.image, maps, voxel_mm=_voxel_mm(seen, self._model.card.inputs.images))
        drop = (float(maps.drop.min()), float(maps.drop.max()))
        self.explained.append(Explained(said, finding, number, views, drop))


class _Beside(nn.Module):
    """A network of images alone: what it is told of the one patient beside them stays as it is."""

    def __init__(self, network: nn.Module, known: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.network, self._known = network, known

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images, *(line.expand(len(images), -1) for line in self._known))  # type: ignore[no-any-return]


def explain(network: nn.Module, image: NDArray[np.uint16], *, finding: int, device: torch.device) -> Maps:
    """Both maps of one image.

    Args:
        network: in evaluation; it gets hooks.
        image: (channels, size_px, size_px), or (1, slices, size_px, size_px).
        finding: the output that is explained.
        device: where the network is.
    """
    from monai.visualize import OcclusionSensitivity  # seconds to import

    batch = to_network(image[None]).to(device)
    places = image.shape[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's calls of its own deprecated ways
        cam = _cam(network, batch, finding)
        patch = tuple(max(2, edge // _PATCHES[len(places)]) for edge in places)
        together = max(1, min(_TOGETHER, _PLACES // int(np.prod(places))))
        how = {"mask_size": patch, "n_batch": together, "overlap": _OVERLAP, "activate": False, "verbose": False}
        with torch.no_grad():
            whole = network(batch)[0, finding]
            hidden, _ = OcclusionSensitivity(nn_module=network, **how)(batch)
    drop = (whole - torch.as_tensor(hidden)[0, finding]).cpu().numpy()
    return Maps(cam=_shares(cam.detach().cpu().numpy()), drop=np.asarray(drop, np.float64))


def views_of(
    image: NDArray[np.uint16], maps: Maps, *, voxel_mm: tuple[float, float, float] | None = None
) -> tuple[View, ...]:
    """The image as it is, or the planes of a volume with the front or the head on top.

    Args:
        image: as in `explain`.
        maps: of it.
        voxel_mm: from slice to slice, row to row and column to column.
    """
    if voxel_mm is None:
        return (View("", image, maps),)
    return tuple(_planes(image, maps, voxel_mm))


def _planes(image: NDArray[np.uint16], maps: Maps, voxel_mm: tuple[float, float, float]) -> Iterator[View]:
    at = np.unravel_index(int(maps.drop.argmax()), maps.drop.shape)
    for axis, name in enumerate(_PLANES):
        one, cam, drop = (np.take(whole, at[axis], axis - 3) for whole in (image, maps.cam, maps.drop))
        if axis:  # slices run from the feet up
            one, cam, drop = one[:, ::-1], cam[::-1], drop[::-1]
        down, across = (edge for other, edge in enumerate(voxel_mm) if other != axis)
        yield View(name, one, Maps(cam, drop), cam.shape[0] * down / (cam.shape[1] * across))


def _voxel_mm(seen: Seen, images: ImageSpec) -> tuple[float, float, float] | None:
    return None if images.slices is None or seen.scan is None else study_spacing(seen.scan, images)


def last_convolution(network: nn.Module) -> str:
    """The name of the last convolution, whose map is the coarsest that still has places."""
    names: list[str] = [n for n, layer in network.named_modules() if isinstance(layer, nn.Conv2d | nn.Conv3d)]
    return names[-1]


class _SliceBySlice(nn.Module):
    """A network whose convolutions see a volume's slices one by one, with these as its batch: each has a map then."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, slices: Tensor) -> Tensor:
        """(slices, 1, rows, columns) to (slices, outputs), which sum up to the logits of the volume."""
        said: Tensor = self.network(slices.transpose(0, 1)[None])
        return said.expand(len(slices), -1) / len(slices)


def _cam(network: nn.Module, batch: Tensor, finding: int) -> Tensor:
    """(*size) of one image."""
    from monai.visualize import GradCAM

    name = last_convolution(network)
    if batch.dim() == 5 and isinstance(network.get_submodule(name), nn.Conv2d):
        seen = GradCAM(nn_module=_SliceBySlice(network), target_layers=f"network.{name}", postprocessing=_as_it_is)
        found: Tensor = seen(x=batch[0].transpose(0, 1), class_idx=finding)[:, 0]
    else:
        seen = GradCAM(nn_module=network, target_layers=name, postprocessing=_as_it_is)
        found = seen(x=batch, class_idx=finding)[0, 0]
    return found


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _shares(values: Floats) -> Floats:
    """0..1 of the greatest value; nothing where no place speaks for the class."""
    return np.asarray(values, np.float64) / most if (most := float(values.max())) > 0 else np.zeros(values.shape)
