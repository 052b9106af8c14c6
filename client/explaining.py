"""Where a released model looked: Grad-CAM and occlusion of an exam's image, for the hospital's own eyes.

Decides what is explained: of an exam the likeliest class, on the image whose logit for it is highest. Grad-CAM
(Selvaraju et al., ICCV 2017) weighs the maps of the last convolution by the class's gradient; occlusion (Zeiler and
Fergus, ECCV 2014) blurs a patch towards grey and asks how far the class's logit falls. Both are MONAI's. They show
where the output depends on the image, and not why, nor whether it is right.
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.imaging.transforms import to_network
from client.prediction import Prediction
from client.read_exam import ReadExam
from client.released_model import ReleasedModel
from shared.metrics import Floats

_PATCH = 8  # patches along an edge
_OVERLAP = 0.5


@dataclass(frozen=True)
class Maps:
    """(size_px, size_px) each: `cam` in 0..1, `drop` in logits, above 0 where the class rests on the patch."""

    cam: Floats
    drop: Floats


@dataclass(frozen=True)
class Explained:
    """One exam: the answer, the class that is explained, and the image (channels, size_px, size_px) with its maps."""

    said: Prediction
    finding: int
    number: int
    image: NDArray[np.uint16] = field(repr=False)
    maps: Maps = field(repr=False)


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
        image = exam.images[number].image
        seeing = _Beside(self._network, self._model.beside([exam.clinical]))
        maps = explain(seeing, image, finding=finding, device=self._model.device)
        self.explained.append(Explained(said, finding, number, image, maps))


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
        image: (channels, size_px, size_px).
        finding: the output that is explained.
        device: where the network is.
    """
    from monai.visualize import GradCAM, OcclusionSensitivity  # seconds to import

    batch = to_network(image[None]).to(device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI's calls of its own deprecated ways
        seen = GradCAM(nn_module=network, target_layers=last_convolution(network), postprocessing=_as_it_is)
        cam = seen(x=batch, class_idx=finding)[0, 0]
        size = max(2, image.shape[-1] // _PATCH)
        how = {"mask_size": size, "overlap": _OVERLAP, "activate": False, "verbose": False}
        with torch.no_grad():
            whole = network(batch)[0, finding]
            hidden, _ = OcclusionSensitivity(nn_module=network, **how)(batch)
    drop = (whole - torch.as_tensor(hidden)[0, finding]).cpu().numpy()
    return Maps(cam=_shares(cam.detach().cpu().numpy()), drop=np.asarray(drop, np.float64))


def last_convolution(network: nn.Module) -> str:
    """The name of the last convolution, whose map is the coarsest that still has places."""
    names: list[str] = [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
    return names[-1]


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _shares(values: Floats) -> Floats:
    """0..1 of the greatest value; nothing where no place speaks for the class."""
    return np.asarray(values, np.float64) / most if (most := float(values.max())) > 0 else np.zeros(values.shape)
