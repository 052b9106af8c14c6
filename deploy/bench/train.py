"""`wardround bench train`: how many images a site trains on in a second, on a device and on the CPU.

A site's own `fit` in float32 and with AMP, in turns with a plain loop of torch over the same images, held in memory as
float32. A site's results are repeatable, so it takes deterministic kernels and no TF32; the plain loop has torch's
defaults, as a script has them. Its AMP is ours: float16 where torch finds it safe, with a scaled loss. Beside a GPU the
CPU trains on two steps of images alone, which takes it long enough.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import median
from typing import Any

import numpy as np
import torch
from rich.console import Group, RenderableType
from rich.text import Text
from torch import Tensor, nn

from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.device import ResolvedDevice, compute_in_full, make_repeatable, resolve_device, settle, use_threads
from client.work.train import fit, local_optimizer
from shared.console import progress_console, table
from shared.images import ImageSpec
from shared.models import build_model
from shared.networks.spec import ModelSpec, NetworkName
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.training import TrainingSpec

_TASK = task_for(TaskSpec(classes=("spot",)))
_STEPS_BESIDE = 2  # of the CPU beside a GPU
_CPU = ResolvedDevice("cpu", "to compare with")
Way = Callable[[], None]


def run(
    *, device: str, model: NetworkName, kinds: Iterable[tuple[int, int]], images: int, threads: int, repetitions: int
) -> dict[str, Any]:
    """Measure an epoch each way, in turns, for every size of image and of batch.

    Args:
        device: as in site.toml.
        model: a network for images, with batch norms.
        kinds: edge of an image in px, and how many images make a step.
        images: in an epoch.
        threads: of the CPU; 0 leaves torch's own choice.
        repetitions: of each way, after one that does not count.

    Raises:
        ResourceError: the device is not there.
    """
    place, used, rows = resolve_device(device), use_threads(threads), []
    for size_px, batch in kinds:
        progress_console().print(f"{model}, {size_px} px, {batch} images a step ...")
        epochs = {place: images} if place.kind == "cpu" else {place: images, _CPU: min(images, _STEPS_BESIDE * batch)}
        for where, count in epochs.items():
            ways = Ways(model, size_px=size_px, batch=batch, images=count)
            of = {"size_px": size_px, "batch": batch, "images": count, "device": where.name}
            rows += [{**of, **row} for row in _timed(ways, where, repetitions)]
    return {
        "device": place.name,
        "card": torch.cuda.get_device_name(place.name) if place.kind == "cuda" else None,
        "model": model,
        "repetitions": repetitions,
        "threads": used,
        "rows": rows,
        "load_after": list(os.getloadavg()),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """Nothing: how fast a device is, it alone decides."""
    yield from ()


def show(data: dict[str, Any]) -> RenderableType:
    """One row for each way."""
    rows = (
        (
            f"{row['size_px']} px, {row['batch']}",
            row["device"],
            row["way"],
            f"{row['per_s']:,.1f}",
            f"{row['least_per_s']:,.1f} to {row['most_per_s']:,.1f}",
            f"{row['peak_bytes'] / 1e6:,.0f} MB" if row["peak_bytes"] else "",
        )
        for row in data["rows"]
    )
    said = f"\n{data['model']}, median of {data['repetitions']} epochs"
    columns = ("image, batch", "device", "way", "images/s", "range", "peak")
    return Group(table(columns, rows), Text(f"{said}; {data['card'] or 'no GPU'}, {data['threads']} threads"))


class Ways:
    """The ways to train one epoch of some images.

    Args:
        model: the network.
        size_px, batch, images: of an image, of a step and of the epoch.
    """

    def __init__(self, model: NetworkName, *, size_px: int, batch: int, images: int) -> None:
        self._seen, self._images = ImageSpec(size_px=size_px), images
        self._model = ModelSpec(name=model, norm="batch")
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 65536, (images, *self._seen.shape), dtype=np.uint16)
        self._examples = Examples(pixels, np.arange(images) % 2, np.arange(images))
        self._loaded = to_network(pixels), torch.from_numpy(self._examples.labels)
        self._spec = TrainingSpec(batch_size=batch, epochs_per_round=1)

    def of(self, place: ResolvedDevice) -> dict[str, Way]:
        """By name; AMP is CUDA's alone."""
        found: dict[str, Way] = {}
        for amp in (False, True) if place.kind == "cuda" else (False,):
            spec = self._spec.model_copy(update={"amp": amp})
            found["site, AMP" if amp else "site"] = self._epoch(_site, spec, place)
            found["plain, AMP" if amp else "plain"] = self._epoch(_plain, spec, place)
        return found

    def speeds(self, took: Sequence[float]) -> dict[str, float]:
        """Images per second: median and range."""
        per_s = [self._images / seconds for seconds in took]
        said = {"per_s": median(per_s), "least_per_s": min(per_s), "most_per_s": max(per_s)}
        return {name: round(value, 2) for name, value in said.items()}

    def _epoch(self, way: Callable[..., None], spec: TrainingSpec, place: ResolvedDevice) -> Way:
        network = build_model(self._model, images=self._seen, outputs=_TASK.outputs, random=StudyRandom(0))
        network.to(place.name)  # a worker keeps it there between rounds
        given = self._examples if way is _site else self._loaded
        return lambda: way(network, given, spec, place)


def _site(network: nn.Module, examples: Examples, spec: TrainingSpec, place: ResolvedDevice) -> None:
    make_repeatable(place)
    fit(network, examples, spec, task=_TASK, random=StudyRandom(0), device=place.name)


def _plain(network: nn.Module, loaded: tuple[Tensor, Tensor], spec: TrainingSpec, place: ResolvedDevice) -> None:
    """An epoch as a script would write it that holds all images."""
    _as_torch_begins()
    images, targets = loaded
    optimizer, scaler = local_optimizer(network.train(), spec, slower={}), torch.amp.GradScaler(enabled=spec.amp)
    order = torch.randperm(len(images))
    for start in range(0, len(order), spec.batch_size):
        batch = order[start : start + spec.batch_size]
        seen, truth = images[batch].to(place.name), targets[batch].to(place.name)
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(place.kind, enabled=spec.amp):
            loss = _TASK.loss(network(seen).float(), truth)
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()


def _as_torch_begins() -> None:
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.allow_tf32 = True


def _timed(ways: Ways, place: ResolvedDevice, repetitions: int) -> list[dict[str, Any]]:
    named, before = ways.of(place), torch.are_deterministic_algorithms_enabled()
    took: dict[str, list[float]] = {name: [] for name in named}
    peaks = dict.fromkeys(named, 0)
    try:
        for turn in range(1 + repetitions):
            for name, way in named.items():
                seconds, peaks[name] = _took(way, place)
                took[name] += [seconds] if turn else []
    finally:
        torch.use_deterministic_algorithms(before)
        compute_in_full()
    return [{"way": name, **ways.speeds(took[name]), "peak_bytes": peaks[name]} for name in named]


def _took(way: Way, place: ResolvedDevice) -> tuple[float, int]:
    """Seconds, and the bytes of a GPU's memory that tensors took at the most."""
    if place.kind == "cuda":
        torch.cuda.reset_peak_memory_stats(place.name)
    settle(place)
    began = time.perf_counter()
    way()
    settle(place)
    seconds = time.perf_counter() - began
    return seconds, torch.cuda.max_memory_allocated(place.name) if place.kind == "cuda" else 0
