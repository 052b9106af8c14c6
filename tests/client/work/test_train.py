import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client.imaging.augmentations import augmentation
from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.evaluate import evaluate
from client.work.train import Fit, fit, layout_for
from shared.images import ImageSpec
from shared.models import build_model, load_state, state_arrays
from shared.networks.spec import ModelSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec
from shared.tasks import task_for
from shared.training import TrainingSpec
from shared.update import pack

TASK = task_for(TaskSpec(classes=("pneumonia",)))


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(n: int, *, seed: int = 0, per_patient: int = 1) -> Examples:
    """Noise with a bright square in the middle of the positives."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pixels = rng.integers(0, 40000, (n, 1, 16, 16), dtype=np.uint16)
    pixels[labels == 1, :, 5:11, 5:11] += 15000
    return Examples(pixels, labels, np.arange(n) // per_patient)


def network(norm: str = "group") -> nn.Module:
    model = ModelSpec.model_validate({"norm": norm, "width": 8})
    return build_model(model, images=ImageSpec(size_px=16), outputs=1, random=StudyRandom(0))


def asked(**keys: Any) -> TrainingSpec:
    length = {} if "steps_per_round" in keys else {"epochs_per_round": 1}
    return TrainingSpec.model_validate({"batch_size": 8, **length, **keys})


def trained(spec: TrainingSpec, examples: Examples | None = None, **more: Any) -> tuple[Fit, nn.Module]:
    model = more.pop("model", None) or network()
    random = more.pop("random", StudyRandom(0, "train", 1, "site-a"))
    report = fit(
        model, images(30) if examples is None else examples, spec, task=TASK, random=random, device="cpu", **more
    )
    return report, model


def weights(model: nn.Module) -> bytes:
    return pack(state_arrays(model))


# ------------------------------------------------------------------ learning


@pytest.mark.parametrize(
    ("optimizer", "norm"), [("sgd", "none"), ("adam", "batch"), ("adamw", "group"), ("sgd", "instance")]
)
def test_every_optimizer_and_norm_learns_the_bright_square(optimizer: str, norm: str) -> None:
    rate = 0.05 if optimizer == "sgd" else 0.003
    spec = asked(optimizer=optimizer, learning_rate=rate, epochs_per_round=6, batch_size=16)
    report, model = trained(spec, images(128), model=network(norm))
    assert report.loss is not None
    score = evaluate(model, images(128, seed=1), task=TASK, device="cpu", model_digest="0" * 64, split="test")
    assert score.figures["auroc"] > 0.9


def test_plain_sgd_takes_the_steps_of_the_definition() -> None:
    examples, spec = images(8), asked(learning_rate=0.1, momentum=0.0, weight_decay=0.01)
    _, model = trained(spec, examples)
    reference = network()
    loss = TASK.loss(reference(to_network(examples.images)), torch.from_numpy(examples.labels))
    loss.backward()
    with torch.no_grad():
        for parameter in reference.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.1 * (parameter.grad + 0.01 * parameter))
    for name, value in state_arrays(model).items():
        assert value == pytest.approx(state_arrays(reference)[name], abs=1e-6)


def test_momentum_starts_anew_each_round() -> None:
    examples, random = images(8), StudyRandom(0, "train", 1)
    _, once = trained(asked(steps_per_round=2), examples, random=random)
    _, twice = trained(asked(steps_per_round=1), examples, random=random)
    trained(asked(steps_per_round=1), examples, random=random, model=twice)
    assert weights(once) != weights(twice)


# ------------------------------------------------------------------ length


@pytest.mark.parametrize(
    ("n", "length", "steps"),
    [
        (30, {"epochs_per_round": 1}, 4),
        (32, {"epochs_per_round": 3}, 12),
        (5, {"epochs_per_round": 2}, 2),
        (30, {"steps_per_round": 3}, 3),
        (30, {"steps_per_round": 9}, 9),
        (0, {"epochs_per_round": 1}, 0),
        (0, {"steps_per_round": 5}, 0),
    ],
)
def test_epochs_or_steps_decide_the_length(n: int, length: dict[str, int], steps: int) -> None:
    report, _ = trained(asked(**length), images(n))
    assert report.steps == steps
    assert report.examples == n
    assert (report.loss is None) == (steps == 0)


def test_no_step_leaves_every_byte_alone() -> None:
    model = network("batch")
    before = weights(model)
    report, _ = trained(asked(steps_per_round=0), model=model)
    assert report.steps == 0
    assert weights(model) == before


@pytest.mark.parametrize(("n", "batch_size", "steps"), [(17, 8, 2), (1, 8, 0), (9, 1, 0), (18, 8, 3)])
def test_a_batch_of_one_is_dropped_under_batch_norm(n: int, batch_size: int, steps: int) -> None:
    for length in ({"epochs_per_round": 1}, {"steps_per_round": steps}):
        report, model = trained(asked(batch_size=batch_size, **length), images(n), model=network("batch"))
        assert report.steps == steps
        assert all(np.isfinite(value).all() for value in state_arrays(model).values())


def test_a_batch_of_one_is_used_by_other_norms() -> None:
    assert trained(asked(), images(17))[0].steps == 3


def test_the_report_counts_patients_and_reads_the_clock() -> None:
    ticks = iter([10.0, 12.5])
    report, _ = trained(asked(), images(30, per_patient=3), clock=lambda: next(ticks))
    assert report.patients == 10
    assert report.seconds == 2.5


def test_the_loss_is_the_mean_over_the_images_seen() -> None:
    examples = images(30)
    report, _ = trained(asked(learning_rate=1e-9), examples)
    score = evaluate(network(), examples, task=TASK, device="cpu", model_digest="0" * 64, split="validation")
    assert report.loss == pytest.approx(score.figures["loss"], abs=1e-3)


def test_every_step_is_told_and_may_stop_the_work() -> None:
    class Stop(Exception):
        """The site was asked to stop."""

    told: list[tuple[int, int | None]] = []

    def on_step(done: int, planned: int | None) -> None:
        told.append((done, planned))
        if done == 2:
            raise Stop

    before = torch.random.get_rng_state()
    with pytest.raises(Stop):
        trained(asked(), on_step=on_step)
    assert told == [(1, 4), (2, 4)]
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("keys", [{}, {"epochs_per_round": 3}, {"steps_per_round": 5}, {"batch_size": 29}])
@pytest.mark.parametrize("norm", ["group", "batch"])  # a batch norm leaves a last batch of one image out
def test_as_many_steps_are_planned_as_are_taken(keys: dict[str, int], norm: str) -> None:
    told: list[tuple[int, int | None]] = []
    report, _ = trained(asked(**keys), model=network(norm), on_step=lambda *step: told.append(step))
    assert told[-1] == (report.steps, report.steps)


class Ticking:
    """A clock on which every look takes so long."""

    def __init__(self, tick_s: float) -> None:
        self._tick_s, self.now = tick_s, 0.0

    def __call__(self) -> float:
        self.now += self._tick_s
        return self.now


def in_seconds(seconds: float, **keys: Any) -> TrainingSpec:
    return TrainingSpec.model_validate({"batch_size": 8, "seconds_per_round": seconds, **keys})


@pytest.mark.parametrize(("tick_s", "steps"), [(1.0, 10), (2.0, 5), (3.0, 3), (100.0, 1)])
def test_as_many_steps_are_taken_as_fit_into_the_time(tick_s: float, steps: int) -> None:
    told: list[tuple[int, int | None]] = []
    report, _ = trained(in_seconds(10.0), clock=Ticking(tick_s), on_step=lambda *step: told.append(step))
    assert report.steps == steps
    assert told == [(done, None) for done in range(1, steps + 1)]


def test_steps_by_time_are_the_first_ones_of_a_round_by_steps() -> None:
    """What the clock decides is how many; their order and randomness are the study's."""
    _, by_time = trained(in_seconds(7.0), clock=Ticking(1.0))
    _, by_steps = trained(asked(steps_per_round=7))
    assert pack(state_arrays(by_time)) == pack(state_arrays(by_steps))


# ------------------------------------------------------------------ order and randomness


def test_an_epoch_sees_every_image_once_in_an_order_of_the_study() -> None:
    seen: list[Any] = []

    def spy(batch: torch.Tensor, targets: torch.Tensor, _: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(batch.clone())
        return batch, targets

    examples = images(20)
    trained(asked(epochs_per_round=2), examples, augment=spy)
    whole = to_network(examples.images).flatten(1).sum(1)
    first, second = torch.cat(seen[:3]).flatten(1).sum(1), torch.cat(seen[3:]).flatten(1).sum(1)
    assert torch.equal(first.sort().values, whole.sort().values)
    assert torch.equal(second.sort().values, whole.sort().values)
    assert not torch.equal(first, whole)
    assert not torch.equal(first, second)


def test_the_same_randomness_gives_the_same_bytes_and_another_does_not() -> None:
    random = StudyRandom(0, "train", 1, "site-a")
    results = [trained(asked(), random=r)[1] for r in (random, random, random.child("other"))]
    assert weights(results[0]) == weights(results[1]) != weights(results[2])


def test_augmentation_follows_the_study() -> None:
    one, two = (weights(trained(asked(), augment=augmentation("light"))[1]) for _ in range(2))
    assert one == two != weights(trained(asked())[1])


@pytest.mark.parametrize(
    "keys", [{"loss": "weighted"}, {"loss": "focal"}, {"sampling": "class_balanced"}, {"mixup": 0.4}]
)
def test_loss_sampling_and_mixup_follow_the_study(keys: dict[str, Any]) -> None:
    examples = images(40)
    examples.labels[5:] = 0  # so that classes differ in size
    one, two = (weights(trained(asked(**keys), examples)[1]) for _ in range(2))
    assert one == two != weights(trained(asked(), examples)[1])


def test_balanced_classes_take_as_many_steps_and_see_the_rare_class() -> None:
    told: list[torch.Tensor] = []

    def spy(batch: torch.Tensor, targets: torch.Tensor, _: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        told.append(targets)
        return batch, targets

    examples = images(200)
    examples.labels[:] = np.arange(200) < 20
    report, _ = trained(asked(sampling="class_balanced", epochs_per_round=2), examples, augment=spy)
    assert report.steps == trained(asked(epochs_per_round=2), examples)[0].steps
    assert 0.4 < torch.cat(told).float().mean() < 0.6


def test_layers_that_draw_follow_the_study_and_not_the_process() -> None:
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Dropout(0.5), network())
        results.append(weights(trained(asked(), model=model)[1]))
    assert results[0] == results[1]


def test_a_memory_map_gives_the_bytes_of_the_array(tmp_path: Path) -> None:
    examples = images(30)
    np.save(tmp_path / "images.npy", examples.images)
    mapped = Examples(np.load(tmp_path / "images.npy", mmap_mode="r"), examples.labels, examples.patients)
    assert weights(trained(asked(), mapped)[1]) == weights(trained(asked(), examples)[1])


_PROCESS = """
import hashlib, sys
import numpy as np
from client.work.device import make_repeatable, resolve_device, use_threads
from client.imaging.examples import Examples
from client.work.train import fit
from shared.models import build_model, state_arrays
from shared.randomness import StudyRandom
from shared.images import ImageSpec
from shared.networks.spec import ModelSpec
from shared.study import TaskSpec
from shared.training import TrainingSpec
from shared.tasks import task_for
from shared.update import pack
use_threads(2)
make_repeatable(resolve_device("cpu"))
rng = np.random.default_rng(0)
pixels = rng.integers(0, 65536, (70, 1, 28, 28), dtype=np.uint16)
examples = Examples(pixels, rng.integers(0, 2, 70), np.arange(70))
for norm in ("group", "batch"):
    model = build_model(ModelSpec(norm=norm), images=ImageSpec(size_px=28), outputs=1, random=StudyRandom(0))
    fit(model, examples, TrainingSpec(epochs_per_round=2), task=task_for(TaskSpec(classes=("a",))),
        random=StudyRandom(0, 1, "site-a"), device="cpu")
    print(hashlib.sha256(pack(state_arrays(model))).hexdigest())
"""


def test_two_processes_train_to_the_same_bytes() -> None:
    runs = [subprocess.Popen([sys.executable, "-c", _PROCESS], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [run.communicate(timeout=240)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert answers[0] == answers[1]
    assert len(set(answers[0].split())) == 2


# ------------------------------------------------------------------ FedProx


def distance(model: nn.Module, start: dict[str, Any]) -> float:
    return float(sum(((v - start[k]) ** 2).sum() for k, v in state_arrays(model).items()))


def test_fedprox_stays_nearer_to_the_incoming_weights() -> None:
    start = state_arrays(network())
    _, free = trained(asked(epochs_per_round=4))
    _, held = trained(asked(epochs_per_round=4, algorithm="fedprox", proximal_mu=1.0))
    assert distance(held, start) < 0.5 * distance(free, start)


def test_fedprox_adds_mu_times_the_distance_to_the_gradient() -> None:
    examples, spec = images(8), {"learning_rate": 0.1, "momentum": 0.0, "steps_per_round": 2}
    _, model = trained(asked(algorithm="fedprox", proximal_mu=0.5, **spec), examples)
    reference, incoming = network(), [p.detach().clone() for p in network().parameters()]
    for _ in range(2):
        reference.zero_grad()
        TASK.loss(reference(to_network(examples.images)), torch.from_numpy(examples.labels)).backward()
        with torch.no_grad():
            for parameter, origin in zip(reference.parameters(), incoming, strict=True):
                assert parameter.grad is not None
                parameter.sub_(0.1 * (parameter.grad + 0.5 * (parameter - origin)))
    for name, value in state_arrays(model).items():
        assert value == pytest.approx(state_arrays(reference)[name], abs=1e-5)


def test_the_first_step_of_fedprox_is_that_of_fedavg() -> None:
    _, free = trained(asked(steps_per_round=1))
    _, held = trained(asked(steps_per_round=1, algorithm="fedprox", proximal_mu=0.3))
    assert weights(held) == weights(free)


# ------------------------------------------------------------------ devices


def test_amp_is_left_alone_off_cuda() -> None:
    assert weights(trained(asked(amp=True))[1]) == weights(trained(asked())[1])


def test_a_model_goes_on_from_the_state_it_is_given() -> None:
    _, first = trained(asked())
    other = network("group")
    load_state(other, state_arrays(first))
    trained(asked(), model=other)
    trained(asked(), model=first)
    assert weights(first) == weights(other)


@pytest.mark.parametrize("asked_for", [ImageSpec(size_px=16), ImageSpec(size_px=16, slices=8)])
def test_the_order_of_axes_changes_no_logit(asked_for: ImageSpec) -> None:
    model = build_model(ModelSpec(width=8), images=asked_for, outputs=1, random=StudyRandom(0)).eval()
    batch, layout = torch.rand(2, *asked_for.shape), layout_for(model)
    with torch.inference_mode():
        plain = model(batch)
        moved = model.to(memory_format=layout)(batch.to(memory_format=layout))  # type: ignore[call-overload]
    assert layout is (torch.channels_last if asked_for.slices is None else torch.channels_last_3d)
    assert torch.allclose(plain, moved, atol=1e-5)
