"""Patient-level DP-SGD: who enters a step, what a patient can add to it at most, and what noise covers the rest."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as some
from torch import Tensor, nn
from torch.optim import SGD

from client.imaging.augmentations import augmentation
from client.imaging.examples import Examples
from client.imaging.transforms import to_network
from client.work.private_training import (
    PatientOptimizer,
    draw_patients,
    fit_privately,
    gradients_of,
    images_by_patient,
    whole_batches,
)
from shared.images import ImageSpec
from shared.models import build_model, load_state, state_arrays
from shared.networks.spec import ModelSpec
from shared.private_training import PrivacySpec
from shared.randomness import PrivateRandom, StudyRandom
from shared.study import TaskSpec
from shared.tasks import Task, task_for
from shared.training import TrainingSpec
from shared.update import pack

TASK = task_for(TaskSpec(classes=("pneumonia",)))
SIZES = (7, 1, 2, 1, 3)  # images of each patient


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def images(sizes: tuple[int, ...] = SIZES, *, seed: int = 0) -> Examples:
    """Noise; the patients' images lie apart, as they may in a catalogue."""
    rng = np.random.default_rng(seed)
    patients = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    pixels = rng.integers(0, 65536, (len(patients), 1, 16, 16), dtype=np.uint16)
    return Examples(pixels, rng.integers(0, 2, len(patients)), patients)


def without(examples: Examples, patient: int) -> Examples:
    others = examples.patients != patient
    dense = np.unique(examples.patients[others], return_inverse=True)[1].astype(np.int64)
    return Examples(examples.images[others], examples.labels[others], dense)


def network(norm: str = "group") -> nn.Module:
    model = ModelSpec.model_validate({"norm": norm, "width": 8})
    return build_model(model, images=ImageSpec(size_px=16), outputs=1, random=StudyRandom(0))


def asked(**keys: Any) -> PrivacySpec:
    return PrivacySpec.model_validate(
        {"noise_multiplier": 1.0, "sampling_rate": 1.0, "patients_per_step": 1, "images_per_patient": 8} | keys
    )


def trained(examples: Examples, privacy: PrivacySpec, *, seed: int = 1, **more: Any) -> nn.Module:
    """One round; a rate of 1 and no momentum make the change the noised gradient itself."""
    model = more.pop("model", None) or network()
    keys = {"learning_rate": 1.0, "momentum": 0.0, "batch_size": 8, "steps_per_round": 1} | more.pop("training", {})
    random = PrivateRandom.seeded_for_tests(seed)
    steps = fit_privately(
        model, examples, TrainingSpec.model_validate(keys), privacy, task=TASK, private=random, device="cpu", **more
    )
    assert steps == keys["steps_per_round"]
    return model


def moved(examples: Examples, privacy: PrivacySpec, **more: Any) -> np.ndarray:
    """Minus the change of all weights as one vector."""
    start = state_arrays(more.get("model") or network())
    end = state_arrays(trained(examples, privacy, **more))
    return np.concatenate([(start[name] - end[name]).ravel() for name in start]).astype(np.float64)


QUIET = {"noise_multiplier": 0.2, "clip_norm": 1e-3}  # of which the noise is drawn alike and cancels in a difference


# ------------------------------------------------------------------ the bound


@pytest.mark.parametrize("patient", range(len(SIZES)))
def test_without_one_patient_the_sum_changes_by_at_most_the_clip_norm(patient: int) -> None:
    """The same noise covers both, so the difference is what the patient added."""
    examples = images()
    apart = moved(examples, asked(**QUIET)) - moved(without(examples, patient), asked(**QUIET))
    assert np.linalg.norm(apart) == pytest.approx(1e-3, rel=1e-2)  # it is clipped, and reaches the bound


@pytest.mark.parametrize("times", [2, 5])
def test_a_patient_whose_images_all_come_twice_adds_no_more(times: int) -> None:
    examples = images()
    more = np.concatenate([np.arange(len(examples)), *[np.flatnonzero(examples.patients == 0)] * (times - 1)])
    twice = Examples(examples.images[more], examples.labels[more], examples.patients[more])
    keys = asked(**QUIET, images_per_patient=64)
    alone = moved(without(examples, 0), keys, training={"batch_size": 64})
    added = moved(twice, keys, training={"batch_size": 64}) - alone
    assert np.linalg.norm(added) <= 1e-3 * (1 + 1e-2)


def test_patients_are_clipped_as_patients_and_not_as_images() -> None:
    """Of a patient with seven images the bound is that of one, where clipping images would allow seven."""
    alone = images((7,))
    gone = moved(alone, asked(**QUIET)) - moved(images(()), asked(**QUIET))
    assert np.linalg.norm(gone) == pytest.approx(1e-3, rel=1e-2)


def test_what_is_below_the_bound_is_the_sum_of_all_gradients() -> None:
    examples, model = images(), network()
    loss = TASK.loss(model(to_network(examples.images)), torch.from_numpy(examples.labels)) * len(examples)
    loss.backward()
    expected = np.concatenate([p.grad.numpy().ravel() for p in model.parameters() if p.grad is not None])
    keys = {"noise_multiplier": 0.2, "clip_norm": 1e4, "patients_per_step": 4}
    found = moved(examples, asked(**keys)) - moved(images(()), asked(**keys))
    assert found * 4 == pytest.approx(expected, abs=0.02)  # of noise of 2000, in float32


def test_a_gradient_that_is_not_finite_adds_nothing() -> None:
    class Exploding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, batch: Tensor) -> Tensor:
            return batch.mean(dim=(1, 2, 3))[:, None] * self.weight * 1e38 * 1e38

    found = moved(images(), asked(), model=Exploding())
    assert found == moved(images(()), asked(), model=Exploding())


class Overflowing(nn.Module):
    """Its output has no number for a white image, and is clipped for every other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch: Tensor) -> Tensor:
        return torch.exp(100 * batch.mean(dim=(1, 2, 3)))[:, None] * self.weight


@pytest.mark.parametrize("batch", [1, 8, 64])
def test_a_patient_without_a_finite_gradient_takes_no_other_patient_along(batch: int) -> None:
    """0 times infinity is not 0: a sum over the batch would be no number, and all in it would be dropped."""
    examples = images()
    bright = int(examples.patients[0])
    examples.images[examples.patients == bright] = 65535
    keys: dict[str, Any] = {"training": {"batch_size": batch}}
    alone = moved(without(examples, bright), asked(**QUIET), model=Overflowing(), **keys)
    assert moved(examples, asked(**QUIET), model=Overflowing(), **keys) == pytest.approx(alone, abs=1e-7)
    nobody = moved(images(()), asked(**QUIET), model=Overflowing(), **keys)
    assert abs(alone - nobody) > 1e-3  # the others' sum, of four patients at the bound


# ------------------------------------------------------------------ who enters


def test_every_patient_enters_by_itself_with_the_rate_whatever_its_images() -> None:
    patients, draws = images_by_patient(images().patients), PrivateRandom.seeded_for_tests(3).generator()
    rate, turns = 0.3, 4000
    owner = images().patients
    entered = np.zeros((turns, len(SIZES)), bool)
    for turn in entered:
        turn[[owner[own[0]] for own in draw_patients(patients, asked(sampling_rate=rate), draws)]] = True
    spread = (rate * (1 - rate) / turns) ** 0.5
    assert entered.mean(axis=0) == pytest.approx(rate, abs=4 * spread)
    assert np.corrcoef(entered.T)[~np.eye(len(SIZES), dtype=bool)] == pytest.approx(0, abs=4 / turns**0.5)
    assert entered.sum(axis=1).var() == pytest.approx(
        len(SIZES) * rate * (1 - rate), rel=0.1
    )  # binomial: not a fixed number


def test_of_a_patient_at_most_so_many_different_images_enter_and_others_each_time() -> None:
    owner = images().patients
    patients, draws = images_by_patient(owner), PrivateRandom.seeded_for_tests(3).generator()
    seen = set()
    for _ in range(60):
        for own in draw_patients(patients, asked(images_per_patient=2), draws):
            patient = owner[own[0]]
            assert set(owner[own]) == {patient}
            assert len(set(own.tolist())) == len(own) == min(2, SIZES[patient])
            seen |= set(own.tolist())
    assert seen == set(range(len(owner)))


@given(some.lists(some.integers(1, 9), max_size=30), some.integers(1, 20))
def test_no_patient_is_in_two_batches(sizes: list[int], most: int) -> None:
    drawn = images_by_patient(np.repeat(np.arange(len(sizes)), sizes))
    batches = list(whole_batches(drawn, most=most))
    assert [own.tolist() for batch in batches for own in batch] == [own.tolist() for own in drawn]
    assert batches  # a step without a patient is a step
    for batch in batches:
        assert sum(map(len, batch)) <= most or len(batch) == 1


@settings(max_examples=10)
@given(some.integers(8, 40))
def test_the_size_of_a_batch_changes_nothing(batch_size: int) -> None:
    whole = moved(images(), asked(), training={"batch_size": 64})
    assert moved(images(), asked(), training={"batch_size": batch_size}) == pytest.approx(whole, abs=1e-5)


# ------------------------------------------------------------------ the noise


def test_a_step_without_any_patient_is_noise_alone() -> None:
    keys = {"noise_multiplier": 3.0, "clip_norm": 0.5, "patients_per_step": 10}
    empty = moved(images(()), asked(**keys))
    assert empty.std() == pytest.approx(3.0 * 0.5 / 10, rel=0.02)
    assert empty.mean() == pytest.approx(0, abs=4 * 0.15 / len(empty) ** 0.5)
    drawn_from_none = moved(images(), asked(**keys, sampling_rate=1e-12))
    assert drawn_from_none.std() == pytest.approx(3.0 * 0.5 / 10, rel=0.02)


@pytest.mark.parametrize(("noise", "clip", "patients"), [(1.0, 1.0, 1), (2.0, 0.1, 7), (0.5, 4.0, 64)])
def test_noise_has_the_deviation_that_is_asked_for_and_is_new_in_every_step(
    noise: float, clip: float, patients: int
) -> None:
    keys = asked(noise_multiplier=noise, clip_norm=clip, patients_per_step=patients)
    one, four = (moved(images(()), keys, training={"steps_per_round": n}) for n in (1, 4))
    assert one.std() == pytest.approx(noise * clip / patients, rel=0.03)
    assert four.std() == pytest.approx(2 * noise * clip / patients, rel=0.03)  # independent: the root of four
    assert abs(np.corrcoef(one, moved(images(()), keys, seed=2))[0, 1]) < 4 / len(one) ** 0.5


def test_it_is_divided_by_the_constant_and_never_by_the_number_of_patients() -> None:
    """Else the size of the noise would tell how many patients a site has."""
    for sizes in ((1,) * 3, (1,) * 40):
        keys = asked(noise_multiplier=100.0, clip_norm=1.0, patients_per_step=20, sampling_rate=0.5)
        assert moved(images(sizes), keys).std() == pytest.approx(5.0, rel=0.03)


def test_the_machines_own_entropy_never_repeats() -> None:
    models = [network() for _ in range(2)]
    for model in models:
        spec = TrainingSpec(steps_per_round=1, batch_size=8)
        fit_privately(model, images(), spec, asked(), task=TASK, private=PrivateRandom(), device="cpu")
    assert pack(state_arrays(models[0])) != pack(state_arrays(models[1]))


# ------------------------------------------------------------------ training


def test_it_learns_the_bright_square_under_noise() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    pixels = rng.integers(0, 40000, (200, 1, 16, 16), dtype=np.uint16)
    pixels[labels == 1, :, 5:11, 5:11] += 20000
    keys = asked(sampling_rate=0.2, patients_per_step=40)
    training = {"learning_rate": 0.5, "momentum": 0.5, "steps_per_round": 40, "batch_size": 64}
    model = trained(Examples(pixels, labels, np.arange(200)), keys, training=training)
    with torch.no_grad():
        logits = model.eval()(to_network(pixels))[:, 0].numpy()
    assert (logits[labels == 1][:, None] > logits[labels == 0]).mean() > 0.85


def test_fedprox_pulls_towards_the_incoming_weights() -> None:
    training = {"steps_per_round": 5, "learning_rate": 0.1}
    free = moved(images(), asked(), training=training)
    held = moved(images(), asked(), training=training | {"algorithm": "fedprox", "proximal_mu": 5.0})
    assert np.linalg.norm(held) < 0.8 * np.linalg.norm(free)


def test_augmentation_and_layers_draw_privately_and_leave_the_process_alone() -> None:
    before = torch.random.get_rng_state()
    plain = nn.Sequential(nn.Dropout(0.5), network())
    state = state_arrays(plain)
    results = []
    for seed in (1, 1, 2):
        load_state(plain, state)
        trained(
            images(), asked(noise_multiplier=0.2, clip_norm=1e-6), model=plain, seed=seed, augment=augmentation("light")
        )
        results.append(pack(state_arrays(plain)))
    assert results[0] == results[1] != results[2]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_gradient_of_a_patient_stays_with_the_model_even_after_a_stop() -> None:
    class Stop(Exception):
        """The site was asked to stop."""

    def stop(done: int, planned: int | None) -> None:
        assert (done, planned) == (1, 3)
        raise Stop

    model = network()
    with pytest.raises(Stop):
        trained(images(), asked(), model=model, training={"steps_per_round": 3}, on_step=stop)
    for parameter in model.parameters():
        assert parameter.grad is None
        assert not {"grad_sample", "summed_grad"} & parameter.__dict__.keys()


def test_a_model_that_mixes_patients_and_a_round_without_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="without batch norm"):
        trained(images(), asked(), model=network("batch"))
    with pytest.raises(ValueError, match="steps_per_round"):
        trained(images(), asked(), training={"steps_per_round": 0})


def test_an_optimizer_of_opacus_itself_would_clip_every_image() -> None:
    """What the small subclass is there for: seven images of one patient, seven times the bound."""
    model = nn.Linear(2, 1, bias=False)
    optimizer = PatientOptimizer(SGD(model.parameters(), lr=1.0), asked(**QUIET), PrivateRandom.seeded_for_tests(0))
    gradients = torch.ones((7, 1, 2))
    sums = []
    for owners in (torch.ones((1, 7)), torch.eye(7)):
        optimizer.zero_grad()
        optimizer.owners, model.weight.grad_sample = owners, gradients.clone()
        optimizer.clip_and_accumulate()
        sums.append(float(model.weight.summed_grad.norm()))
    assert sums == pytest.approx([1e-3, 7e-3], rel=1e-2)


# ------------------------------------------------------------------ gradients of each image


def slowly(model: nn.Module, task: Task, pixels: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """The same by autograd, one image after the other."""
    found: dict[str, list[Tensor]] = {name: [] for name, _ in model.named_parameters()}
    for image, target in zip(pixels, targets, strict=True):
        model.zero_grad()
        task.loss(model(image[None]), target[None]).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            found[name].append(parameter.grad.clone())
    return {name: torch.stack(each) for name, each in found.items()}


def assert_equal_gradients(name: str, norm: str, *, size_px: int, slices: int | None = None) -> None:
    spec = ModelSpec.model_validate({"name": name, "norm": norm, "width": 8})
    images = ImageSpec(size_px=size_px, slices=slices)
    model = build_model(spec, images=images, outputs=3, random=StudyRandom(0)).double()
    for layer in model.modules():
        if hasattr(layer, "drop_connect_rate"):
            layer.drop_connect_rate = 0.0
    task = task_for(TaskSpec(mode="multiclass", classes=("a", "b", "c")))
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(2, *images.shape)))
    targets = torch.tensor([0, 2])
    found, expected = gradients_of(model, task.loss)(pixels, targets), slowly(model, task, pixels, targets)
    assert found.keys() == expected.keys()
    for key, gradients in expected.items():
        assert torch.allclose(found[key], gradients, rtol=1e-5, atol=1e-7 * float(gradients.abs().max() + 1)), key


@pytest.mark.parametrize("norm", ["none", "group", "instance"])
def test_every_images_gradient_is_that_of_autograd(norm: str) -> None:
    assert_equal_gradients("basic_cnn", norm, size_px=32)


@pytest.mark.parametrize("norm", ["none", "group"])
def test_every_volumes_gradient_is_that_of_autograd(norm: str) -> None:
    assert_equal_gradients("basic_cnn", norm, size_px=16, slices=16)


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "instance"])
@pytest.mark.parametrize("name", ["resnet18", "densenet121", "efficientnet-b0"])
def test_every_images_gradient_is_that_of_autograd_in_the_large_networks(name: str, norm: str) -> None:
    assert_equal_gradients(name, norm, size_px=64)
