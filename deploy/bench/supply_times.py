"""Times how images are read, four ways in turns: cold, by a plain loop of pydicom, warm, and from tensors in memory.

Cold is from DICOM files to a cache that did not exist, catalogue and all; beside it a loop over the same files in one
thread that reads each and asks for `pixel_array`, and makes nothing of it. Warm is an epoch of training that reads its
images from the cache; beside it the same steps over tensors that were loaded before. Processor time stands beside
time, because a busy machine stretches the one and hardly the other.
"""

import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from pydicom import dcmread
from torch import Tensor, nn

from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.train import fit, local_optimizer
from deploy.bench.supply_site import TASK, site_data
from shared.images import ImageSpec
from shared.models import build_model
from shared.networks.spec import ModelSpec
from shared.quiet import quiet
from shared.randomness import StudyRandom
from shared.tasks import task_for
from shared.training import TrainingSpec

_SEEN = ImageSpec(size_px=128)
_SPEC = TrainingSpec(batch_size=32, epochs_per_round=1)
_TASK = task_for(TASK)
Took = dict[str, float]  # `seconds` and `cpu_s`, of this process and of those that it has waited for


def times(folder: Path, cache: Path, *, repetitions: int, seed: int) -> dict[str, list[Took]]:
    """What each repetition of each way took.

    Args:
        folder: of `supply_files`.
        cache: a folder that is not there yet.
        repetitions: of each way, after one of each that does not count.
        seed: of networks and orders.
    """
    random = StudyRandom(seed, "supply")
    train = site_data(folder, cache / "kept", _SEEN).train
    loaded = (to_network(train.images[:]), torch.from_numpy(train.targets(slice(None))))
    ways: dict[str, Callable[[], None]] = {
        "cold": lambda: _cold(folder, cache / "cold"),
        "pydicom": lambda: _pydicom(folder),
        "warm": lambda: _warm(train, random),
        "preloaded": lambda: _preloaded(*loaded, random),
    }
    turns = [{name: _took(way) for name, way in ways.items()} for _ in range(1 + repetitions)]
    return {name: [turn[name] for turn in turns[1:]] for name in ways}


def figures(took: list[Took], *, images: int) -> dict[str, float]:
    """Images per second: the median of the repetitions, their range, and the median per second of processor time."""
    speeds = [images / one["seconds"] for one in took]
    return {
        "per_s": round(median(speeds), 2),
        "least_per_s": round(min(speeds), 2),
        "most_per_s": round(max(speeds), 2),
        "per_cpu_s": round(median(images / one["cpu_s"] for one in took), 2),
    }


def ratio(bare: list[Took], ours: list[Took], key: str) -> float:
    """Our speed in that of a bare loop: the median over the turns, in each of which both came one after the other."""
    return round(median(one[key] / other[key] for one, other in zip(bare, ours, strict=True)), 3)


def _cold(folder: Path, cache: Path) -> None:
    site_data(folder, cache, _SEEN)
    shutil.rmtree(cache)


def _pydicom(folder: Path) -> None:
    with quiet():
        for file in sorted((folder / "images").iterdir()):
            assert dcmread(file).pixel_array.size


def _warm(train: Examples, random: StudyRandom) -> None:
    fit(_network(random), train, _SPEC, task=_TASK, random=random, device="cpu")


def _preloaded(images: Tensor, targets: Tensor, random: StudyRandom) -> None:
    """An epoch as a script would write it that holds all images."""
    network = _network(random).train()
    optimizer = local_optimizer(network, _SPEC, slower={})
    order = torch.randperm(len(images), generator=random.torch_generator())
    for start in range(0, len(order), _SPEC.batch_size):
        batch = order[start : start + _SPEC.batch_size]
        optimizer.zero_grad(set_to_none=True)
        _TASK.loss(network(images[batch]), targets[batch]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _network(random: StudyRandom) -> nn.Module:
    return build_model(ModelSpec(), images=_SEEN, outputs=_TASK.outputs, random=random)


def _took(way: Callable[[], None]) -> Took:
    began, used = time.perf_counter(), _cpu_s()
    way()
    return {"seconds": time.perf_counter() - began, "cpu_s": _cpu_s() - used}


def _cpu_s() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)
