"""A study that learns to draw: its network, its figures, and who must have agreed to what it may memorise."""

from typing import Any

import numpy as np
import pytest
import torch

from client.imaging.examples import Examples
from client.work.private_training import fit_privately, gradients_of
from shared import metrics
from shared.generation import Generation
from shared.images import ImageSpec
from shared.models import build_model, state_arrays
from shared.networks.spec import ModelSpec
from shared.networks.vae import CODE, Vae, similarity
from shared.private_training import PrivacySpec
from shared.randomness import PrivateRandom, StudyRandom
from shared.study import Study, TaskSpec
from shared.task_words import asked_in_words
from shared.tasks import task_for
from shared.training import TrainingSpec

MODEL = "d" * 64
TASK = task_for(TaskSpec(kind="generation", classes=("chest",), accept_memorisation=True))
BOUNDED = {"noise_multiplier": 1.0, "sampling_rate": 0.01, "patients_per_step": 1}
PRIVACY = {"noise_multiplier": 0.2, "sampling_rate": 1.0, "patients_per_step": 1, "clip_norm": 1e-3}


def built(norm: str = "group", *, size_px: int = 16, channels: int = 1) -> Vae:
    images = ImageSpec.model_validate({"size_px": size_px, "channels": channels})
    model = ModelSpec.model_validate({"name": "vae", "norm": norm})
    network = build_model(model, images=images, outputs=TASK.outputs, random=StudyRandom(0))
    assert isinstance(network, Vae)
    return network


def asked(**keys: Any) -> Study:
    task = {"kind": "generation", "classes": ["chest"], "accept_memorisation": True} | keys.pop("task", {})
    training = {"steps_per_round": 1} | keys.pop("training", {})
    return Study.model_validate(
        {"study": {"name": "drawn"}, "task": task, "model": {"name": "vae"}, "training": training} | keys
    )


# ------------------------------------------------------------------ who agrees to it


def test_without_privacy_a_study_says_that_its_model_can_memorise_and_so_does_every_contract() -> None:
    assert asked().selection.metric == "ssim"
    assert "CAN MEMORISE images of patients and GIVE THEM BACK" in asked_in_words(asked().task)
    with pytest.raises(ValueError, match="can memorise images it was trained on and give them back"):
        asked(task={"accept_memorisation": False})


def test_with_enough_noise_it_need_not_and_must_not() -> None:
    private = asked(task={"accept_memorisation": False}, privacy=BOUNDED, training={"momentum": 0.0})
    assert "MEMORISE" not in asked_in_words(private.task)
    with pytest.raises(ValueError, match="leave it out"):
        asked(privacy=BOUNDED)


@pytest.mark.parametrize("changes", [{"noise_multiplier": 0.2}, {"noise_multiplier": 0.5, "delta": 1e-3}])
def test_noise_that_hides_nobody_takes_no_warning_away(changes: dict[str, Any]) -> None:
    weak = {"privacy": BOUNDED | {"sampling_rate": 1.0} | changes, "training": {"momentum": 0.0}}
    assert "CAN MEMORISE" in asked_in_words(asked(**weak).task)
    with pytest.raises(ValueError, match="whose epsilon is at most 10"):
        asked(task={"accept_memorisation": False}, **weak)


def test_many_rounds_wear_the_bound_out() -> None:
    keys = {"privacy": BOUNDED | {"sampling_rate": 0.02}, "training": {"momentum": 0.0, "steps_per_round": 20}}
    assert asked(task={"accept_memorisation": False}, **keys)
    with pytest.raises(ValueError, match="whose epsilon is at most 10"):
        asked(task={"accept_memorisation": False}, rounds={"count": 1000}, **keys)


def test_a_study_that_scores_a_model_that_draws_accepts_nothing_whatever_its_training_says() -> None:
    scored = {"study": {"name": "scored", "kind": "evaluate"}, "model": {"name": "vae", "start_sha256": "a" * 64}}
    assert asked(task={"accept_memorisation": False}, **scored).training is not None
    with pytest.raises(ValueError, match="for training a generation"):
        asked(**scored)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"task": {"classes": ["chest", "head"]}}, "names one class"),
        ({"model": {"name": "basic_cnn"}}, "generation goes with model.name = vae"),
        ({"task": {"kind": "classification"}}, "generation goes with model.name = vae"),
        ({"images": {"slices": 16}}, r"without images\.slices"),
        ({"images": {"size_px": 20}}, r"images\.size_px of 8 times n"),
        ({"training": {"algorithm": "fedbn"}}, "does not go with fedbn"),
        ({"selection": {"metric": "auroc"}}, "is one of ssim, loss"),
        ({"clinical": {"age": {"low": 0, "high": 100}}}, "takes images alone"),
    ],
)
def test_what_does_not_go_with_drawing_is_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        asked(**keys)


# ------------------------------------------------------------------ the network


@pytest.mark.parametrize("norm", ["none", "batch", "group", "instance"])
@pytest.mark.parametrize(("size_px", "channels"), [(16, 1), (40, 3)])
def test_it_answers_for_each_image_and_draws_others(norm: str, size_px: int, channels: int) -> None:
    model = built(norm, size_px=size_px, channels=channels)
    answer = model(torch.rand(2, channels, size_px, size_px) * 2 - 1)
    assert answer.shape == (2, 3)
    TASK.loss(answer, torch.ones(2)).backward()
    drawn = model.draw(torch.zeros(3, CODE))
    assert drawn.shape == (3, channels, size_px, size_px)
    assert drawn.abs().max() <= 1


def test_the_similarity_is_1_of_an_image_with_itself_and_less_of_others() -> None:
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    assert similarity(image, image).tolist() == pytest.approx([1, 1])
    assert similarity(image, image.flip(3)).max() < 0.3


def test_a_network_that_reconstructs_perfectly_from_a_normal_code_costs_nothing() -> None:
    model, image = built("none").eval(), torch.zeros(1, 1, 16, 16)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        assert model(image).tolist() == [[0.0, 0.0, pytest.approx(1.0)]]
        model.code.bias[:CODE] = 1.0  # each mean one off: half a nat
        assert model(image)[0, 1].item() == pytest.approx(CODE / 2 / 256)


def test_training_brings_the_bound_down() -> None:
    model, rng = built(), torch.Generator().manual_seed(0)
    images = torch.zeros(8, 1, 16, 16) - 0.8
    images[:, :, 4:12, 4:12] = torch.rand(8, 1, 1, 1, generator=rng)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=3e-3), []
    for _ in range(30):
        optimizer.zero_grad()
        loss = TASK.loss(model(images), torch.ones(8))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3


# ------------------------------------------------------------------ privacy


def test_a_private_gradient_is_the_gradient_of_that_image_alone() -> None:
    model, images = built().eval(), torch.rand(3, 1, 16, 16) * 2 - 1  # in training each image draws a code of its own
    each = gradients_of(model, TASK.loss)(images, torch.ones(3))
    for number in range(3):
        model.zero_grad()
        TASK.loss(model(images[number : number + 1]), torch.ones(1)).backward()
        for name, parameter in model.named_parameters():
            assert torch.allclose(parameter.grad, each[name][number], atol=1e-5)  # type: ignore[arg-type]


def test_a_patient_moves_the_model_by_no_more_than_the_clip_norm() -> None:
    def end(images: int) -> np.ndarray[Any, Any]:
        pixels = np.random.default_rng(0).integers(0, 65536, (images, 1, 16, 16), dtype=np.uint16)
        examples = Examples(pixels, np.ones(images, np.int64), np.zeros(images, np.int64))
        model, privacy = built(), PrivacySpec.model_validate(PRIVACY)
        spec = TrainingSpec(learning_rate=1.0, momentum=0.0, batch_size=8, steps_per_round=1)
        random = PrivateRandom.seeded_for_tests(1)  # the same noise, which cancels
        fit_privately(model, examples, spec, privacy, task=TASK, private=random, device="cpu")
        return np.concatenate([values.ravel() for values in state_arrays(model).values()]).astype(np.float64)

    assert np.linalg.norm(end(3) - end(0)) == pytest.approx(PRIVACY["clip_norm"], rel=0.05)


# ------------------------------------------------------------------ figures


def test_statistics_of_sites_add_up_and_fit_the_contract() -> None:
    assert isinstance(TASK, Generation)
    rng = np.random.default_rng(0)
    rows = np.stack([rng.uniform(0, 5, 30), rng.uniform(0, 1, 30), rng.uniform(0.2, 0.9, 30)], 1).astype(np.float32)
    ones = np.ones(30, np.int64)
    whole, *parts = (
        TASK.score(rows[part], ones[part], model_digest=MODEL, split="test")
        for part in (slice(0, 30), slice(0, 12), slice(12, 30))
    )
    figures = TASK.figures(metrics.add(part.statistics for part in parts))
    assert figures["ssim"] == pytest.approx(rows[:, 2].mean(), abs=1e-6)
    assert figures["loss"] == pytest.approx(rows[:, :2].sum(1).mean(), abs=1e-5)
    assert figures["ssim_error"] == pytest.approx(rows[:, 2].std(ddof=1) / np.sqrt(30), rel=1e-3)
    rules = {rule.name: rule for rule in TASK.rules() if rule.kind == "statistic"}
    assert rules.keys() == whole.statistics.keys()
    assert all(rules[name].holds(values, patients=30) for name, values in whole.statistics.items())
    assert {rule.name for rule in TASK.rules() if rule.kind == "figure"} == whole.figures.keys()
    assert rules["measured"].fewest(whole.statistics["measured"]) == 30  # so a small split is withheld
    assert TASK.figures({}) == {}


def test_a_patient_is_the_mean_over_the_images_and_a_model_that_overflows_stays_in_bounds() -> None:
    logits = torch.tensor([[1.0, 1, 0.5], [3.0, 1, 0.7], [float("nan"), float("inf"), float("nan")]])
    measured = TASK.measure(logits, torch.ones(3))
    rows, _ = TASK.by_patient(measured, np.ones(3, np.int64), np.array([0, 0, 1]))
    assert rows[0].tolist() == pytest.approx([2, 1, 0.6])
    assert rows[1].tolist() == [1000, 1000, 0]
    assert TASK.thresholds({}) is None
    assert TASK.figures_at({}, ()) == {}
