"""On a GPU every network of the wheel learns as on the CPU, scores alike, and repeats itself."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from lone_site import a_study
from torch import nn

from client.imaging.augmentations import augmentation
from client.imaging.examples import Examples, SiteData
from client.work.device import is_lost, make_repeatable, resolve_device
from client.work.evaluate import evaluate, measured_by_patient
from client.work.local_work import LocalWork
from client.work.networks import start_network
from client.work.private_training import fit_privately
from client.work.train import fit
from server.launch import start_state
from shared.models import state_arrays, varying_layers
from shared.private_training import PrivacySpec
from shared.randomness import PrivateRandom, StudyRandom
from shared.study import Study
from shared.tasks import task_for
from shared.update import PackedFile, pack

pytestmark = pytest.mark.gpu

CLINICAL = {"age": {"low": 0, "high": 100, "mean": 50, "sd": 10}, "sex": {"kind": "category", "values": ["f", "m"]}}
MASKS = {"kind": "segmentation", "classes": ["lesion"]}
DRAWS = {"kind": "generation", "classes": ["chest"], "accept_memorisation": True}
THREE = {"classes": ["none", "left", "right"], "mode": "multiclass"}
FLAT, DEEP = {"size_px": 64}, {"size_px": 32, "slices": 32}
DRAWING = ("efficientnet-b0", "vae")  # in training, from a generator of the device's own


class Family(NamedTuple):
    """A network, and what it is to learn."""

    network: str
    images: dict[str, Any]
    norm: str = "batch"
    task: dict[str, Any] = {"classes": ["opacity"]}  # noqa: RUF012  of a NamedTuple nobody changes
    more: dict[str, Any] = {}  # noqa: RUF012

    def study(self, **training: Any) -> Study:
        asked = {"batch_size": 8, "steps_per_round": 4, "learning_rate": 0.01, **training}
        model = {"name": self.network, "norm": self.norm, "width": 8}
        return a_study(task=self.task, images=self.images, model=model, training=asked, **self.more)


FAMILIES = {
    **{f"{name}-2d": Family(name, FLAT) for name in ("basic_cnn", "resnet18", "densenet121", "efficientnet-b0")},
    **{f"{name}-3d": Family(name, DEEP) for name in ("basic_cnn", "resnet18", "densenet121", "efficientnet-b0")},
    **{f"{name}-2d-masks": Family(name, FLAT, task=MASKS) for name in ("unet", "segresnet")},
    **{f"{name}-3d-masks": Family(name, DEEP, task=MASKS) for name in ("unet", "segresnet")},
    "masks-of-two": Family("segresnet", FLAT, task=MASKS | {"mode": "multiclass", "classes": ["liver", "spleen"]}),
    **{name: Family(name, DEEP, norm="group") for name in ("cnn_gru", "cnn_attention")},
    "three-classes": Family("resnet18", FLAT, norm="group", task=THREE),
    "fusion": Family("resnet18", FLAT, more={"clinical": CLINICAL}),
    "vae": Family("vae", {"size_px": 32}, norm="group", task=DRAWS),
}
PRIVATE = ("basic_cnn-2d", "basic_cnn-3d", "resnet18-2d", "segresnet-2d-masks", "cnn_gru", "fusion", "vae")


@pytest.fixture(autouse=True)
def repeatable() -> Iterator[None]:
    """The process as a worker's is."""
    full = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    make_repeatable(resolve_device("cuda"))
    yield
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = full
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def examples(study: Study, count: int = 16) -> Examples:
    """Noise with a bright box, in which its class lies, or its mask."""
    rng, images, task = np.random.default_rng(count), study.images, study.task
    values = rng.integers(0, 40000, (count, *images.shape), dtype=np.uint16)
    labels = np.arange(count) % max(2, task.outputs)
    box = (slice(4, 16),) * len(images.grid)
    for image, label in zip(values, labels, strict=True):
        image[(slice(None), *box)] += np.uint16(10000 * label)
    clinical = rng.normal(40, 9, (count, len(study.clinical))).astype(np.float32) if study.clinical else None
    if clinical is not None:
        clinical[:, 1] = labels
        clinical[::3, 0] = np.nan
    masks = None
    if task.kind == "segmentation":
        masks = np.zeros((count, *images.grid), np.uint16)
        masks[(slice(None), *box)] = 1 + labels[:, *[None] * len(box)] % len(task.classes)
        labels = np.stack([(masks == n).reshape(count, -1).any(axis=1) for n in range(1, len(task.classes) + 1)], 1)
    if task.kind == "generation":
        labels = np.zeros(count, np.int64)
    return Examples(values, labels.astype(np.int64), np.arange(count) % (count // 2), clinical=clinical, masks=masks)


def trained(study: Study, device: str) -> nn.Module:
    network, task = start_network(study), task_for(study.task)
    assert study.training is not None
    done = fit(network, examples(study), study.training, task=task, random=StudyRandom(1), device=device)
    assert done.steps == study.training.steps_per_round
    assert done.loss is not None and np.isfinite(done.loss)
    return network


def change(network: nn.Module, study: Study) -> np.ndarray:
    """Of all weights, as one vector."""
    start, end = state_arrays(start_network(study)), state_arrays(network)
    return np.concatenate([(end[name] - start[name]).ravel() for name in start]).astype(np.float64)


def apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "amp"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_seed_gives_the_same_weights(name: str, amp: bool) -> None:
    study = FAMILIES[name].study(amp=amp)
    once, again = (change(trained(study, "cuda"), study) for _ in range(2))
    assert np.isfinite(once).all() and once.any()
    if varying_layers(start_network(study)):
        assert apart(again, once) < 0.05
    else:
        assert (once == again).all()


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.network not in DRAWING])
def test_training_goes_where_it_goes_on_the_cpu(name: str) -> None:
    study = FAMILIES[name].study(steps_per_round=2)
    assert apart(change(trained(study, "cuda"), study), change(trained(study, "cpu"), study)) < 0.02


@pytest.mark.parametrize("name", FAMILIES)
def test_scores_are_those_of_the_cpu(name: str) -> None:
    study, task = FAMILIES[name].study(), task_for(FAMILIES[name].study().task)
    network, held_out = trained(study, "cuda"), examples(study, 12)
    patch = study.images.patch
    here, truth = measured_by_patient(network, held_out, task=task, device="cuda", patch=patch)
    there, same = measured_by_patient(network, held_out, task=task, device="cpu", patch=patch)
    assert (truth == same).all()
    assert here == pytest.approx(there, abs=2e-3, rel=2e-3, nan_ok=True)


@pytest.mark.parametrize("amp", [False, True], ids=["float32", "amp"])
def test_it_learns(amp: bool) -> None:
    asked = {"steps_per_round": 60, "batch_size": 16, "optimizer": "adamw", "learning_rate": 0.003, "amp": amp}
    study = Family("basic_cnn", {"size_px": 16}, norm="group").study(**asked)
    network, task, held_out = start_network(study), task_for(study.task), examples(study, 132)
    assert study.training is not None
    fit(network, examples(study, 128), study.training, task=task, random=StudyRandom(1), device="cuda")
    score = evaluate(network, held_out, task=task, device="cuda", model_digest="0" * 64, split="test")
    assert score.figures["auroc"] > 0.9


@pytest.mark.parametrize("name", FAMILIES)
def test_mixed_precision_loses_no_step(name: str) -> None:
    """Whose gradients overflow is left out; the change of one step then is none."""
    study = FAMILIES[name].study(amp=True, steps_per_round=1, momentum=0.0)
    end, start = trained(study, "cuda"), start_network(study)
    pairs = zip(end.parameters(), start.parameters(), strict=True)
    assert any((one.cpu() != other).any() for one, other in pairs)


def test_patches_of_volumes_are_trained_and_scored() -> None:
    images = {**DEEP, "patch": {"size_px": 16, "slices": 16}}
    study = Family("segresnet", images, task=MASKS, norm="group").study(amp=True)
    network, task, data = start_network(study), task_for(study.task), examples(study, 4)
    assert study.training is not None
    how: dict[str, Any] = {"patch": study.images.patch, "augment": augmentation("light")}
    fit(network, data, study.training, task=task, random=StudyRandom(1), device="cuda", **how)
    scores = [measured_by_patient(network, data, task=task, device=d, patch=how["patch"])[0] for d in ("cuda", "cpu")]
    assert scores[0] == pytest.approx(scores[1], abs=2e-3, rel=2e-3, nan_ok=True)


@pytest.mark.parametrize("training", [{"loss": "weighted"}, {"loss": "focal", "focal_gamma": 2.0}, {"mixup": 0.3}])
@pytest.mark.parametrize("task", [THREE, {"classes": ["a", "b"], "mode": "multilabel"}], ids=["three", "multilabel"])
def test_every_loss_is_taken(training: dict[str, Any], task: dict[str, Any]) -> None:
    study = Family("basic_cnn", FLAT, task=task, norm="group").study(**training)
    data = examples(study)
    if task["mode"] == "multilabel":
        data = Examples(data.images, np.stack([data.labels % 2, 1 - data.labels % 2], 1), data.patients)
    networks = [start_network(study) for _ in range(2)]
    assert study.training is not None
    for network, device in zip(networks, ("cuda", "cpu"), strict=True):
        fit(network, data, study.training, task=task_for(study.task), random=StudyRandom(1), device=device)
    assert apart(change(networks[0], study), change(networks[1], study)) < 0.01


@pytest.mark.parametrize("name", PRIVATE)
def test_private_training_is_that_of_the_cpu(name: str) -> None:
    """The noise and who enters are drawn on the CPU; of one seed they are the same."""
    study = FAMILIES[name]._replace(norm="group").study(steps_per_round=3, batch_size=4)
    asked = {"noise_multiplier": 0.5, "sampling_rate": 0.7, "patients_per_step": 5, "images_per_patient": 2}
    networks = [start_network(study) for _ in range(2)]
    assert study.training is not None
    for network, device in zip(networks, ("cuda", "cpu"), strict=True):
        fit_privately(
            network, examples(study), study.training, PrivacySpec.model_validate(asked), task=task_for(study.task),
            private=PrivateRandom.seeded_for_tests(3), device=device,
        )  # fmt: skip
        assert all(p.grad is None for p in network.parameters())
    assert apart(change(networks[0], study), change(networks[1], study)) < (0.05 if name == "vae" else 1e-3)


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox", "fednova", "fedbn", "scaffold"])
def test_a_whole_round_of_every_method(algorithm: str, tmp_path: Path) -> None:
    asked = {"algorithm": algorithm, "momentum": 0.0, "proximal_mu": 0.1 * (algorithm == "fedprox")}
    study = Family("basic_cnn", FLAT, norm="group").study(**asked)
    start = tmp_path / "start"
    start.write_bytes(pack(start_state(study)))
    data = SiteData(examples(study), examples(study, 6), examples(study, 4), "a" * 64, None)  # type: ignore[arg-type]
    updates = []
    for wish in ("cuda", "cuda", "cpu"):
        work = LocalWork(study, site="north", data=data, device=resolve_device(wish))
        done = work.train(start, model_digest="a" * 64, number=1)
        assert done.update is not None
        (tmp_path / wish).write_bytes(done.update)
        found = dict(PackedFile(tmp_path / wish).items())
        updates.append(np.concatenate([found[name].ravel() for name in sorted(found)]))
    assert (updates[0] == updates[1]).all()
    assert apart(updates[0], updates[2]) < 0.01


def test_memory_that_is_too_small_loses_no_device() -> None:
    device = resolve_device("cuda")
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(1 << 50, dtype=torch.uint8, device=device.name)
    assert not is_lost(device)
