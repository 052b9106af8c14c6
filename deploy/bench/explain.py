"""`wardround bench explain`: whether the explanations of a model point at what a reader outlined.

A kept demo of an array file with masks has a model that never saw a mask. For each test image that has one, Grad-CAM
and occlusion explain the model's likeliest class, and their highest place is in the mask or not: the pointing game of
Zhang et al. (IJCV 2018). A place drawn at random would hit as often as the mask is large, which stands beside it.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import RenderableType
from torch import nn

from client.imaging.cache import prepare
from client.imaging.examples import Examples
from client.imaging.settings import DataSettings
from client.imaging.transforms import to_network
from client.prediction.explaining import explain
from server.launch import FINAL_MODEL
from server.study_folder import StudyFolder, all_studies
from shared.console import table
from shared.errors import ConfigError
from shared.models import build_model, load_state
from shared.randomness import StudyRandom
from shared.study import Study, TaskSpec
from shared.update import PackedFile

_MASKED = TaskSpec(kind="segmentation", mode="binary", classes=("structure",))
_MAPS = ("grad_cam", "occlusion")


def run(demo: Path, *, images: int, seed: int, scratch: Path) -> dict[str, Any]:
    """Explain so many test images of a demo.

    Args:
        demo: the folder that `wardround demo --npz FILE --keep FOLDER` kept.
        images: at most, drawn from those of all sites.
        seed: of the draw.
        scratch: a folder for decoded images, to be thrown away.

    Raises:
        ConfigError: there is no such demo, its study does not classify single images, or its file has no masks.
    """
    folder = _finished(demo)
    study = folder.study()
    network = build_model(study.model, images=study.images, outputs=study.task.outputs, random=StudyRandom(0)).eval()
    load_state(network, dict(PackedFile(folder.path / FINAL_MODEL).items()))
    seen = [(part, n) for part in _tests(demo, study, scratch) for n in range(len(part)) if part.labels[n].any()]
    order = np.random.default_rng(seed).permutation(len(seen))[:images]
    found = np.array([_pointed(network, *seen[n]) for n in order]).reshape(-1, len(_MAPS) + 1)
    shares = [round(float(share), 4) for share in found.mean(axis=0)] if len(found) else [0.0] * (len(_MAPS) + 1)
    hits = dict(zip(_MAPS, shares, strict=False))
    return {"study": study.name, "images": len(found), "hits": hits, "by_chance": shares[-1]}


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    if not data["images"]:
        yield "No test image has a mask."
        return
    for name, share in data["hits"].items():
        if share - 1.96 * math.sqrt(share * (1 - share) / data["images"]) <= data["by_chance"]:  # Wald, 95 %
            yield f"{name} does not surely point at the mask more often than chance does."


def show(data: dict[str, Any]) -> RenderableType:
    """The shares as a table."""
    rows = [(name.replace("_", " "), f"{share:.3f}") for name, share in data["hits"].items()]
    rows.append(("a place at random", f"{data['by_chance']:.3f}"))
    return table(("highest place", f"in the mask, of {data['images']:,} images"), rows)


def _pointed(network: nn.Module, part: Examples, number: int) -> tuple[float, ...]:
    """Whether each map's highest place is in the mask of an image, and which share of the image the mask takes."""
    assert part.masks is not None
    image, mask = np.asarray(part.images[number]), np.asarray(part.masks[number]) > 0
    with torch.inference_mode():
        finding = int(network(to_network(image[None]))[0].argmax())
    maps = explain(network, image, finding=finding, device=torch.device("cpu"))
    highest = (np.unravel_index(int(places.argmax()), places.shape) for places in (maps.cam, maps.drop))
    return (*(float(mask[place]) for place in highest), float(mask.mean()))


def _finished(demo: Path) -> StudyFolder:
    found = [folder for folder in all_studies(demo / "federation") if (folder.path / FINAL_MODEL).exists()]
    if len(found) != 1:
        raise ConfigError(
            f"{demo} holds no finished demo.",
            remedy="Run `wardround demo --npz FILE --keep FOLDER`, and name the folder.",
        )
    study = found[0].study()
    if study.task.kind != "classification" or study.images.slices is not None or study.clinical:
        raise ConfigError(
            "This demo's model does not classify single images alone.",
            remedy="Name a demo of --task classification, without clinical columns.",
        )
    return found[0]


def _tests(demo: Path, study: Study, scratch: Path) -> Iterator[Examples]:
    """The test images of each site, with their masks."""
    for site in sorted((demo / "images").iterdir()):
        data = prepare(
            DataSettings(kind="npz", file=site / "images.npz"),
            task=_MASKED,
            images=study.images,
            salt=bytes(32),
            base=demo,
            cache=scratch / site.name,
        )
        yield data.test
