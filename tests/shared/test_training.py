"""What a study asks of a site's work beside its length: loss, sampling, mixup, schedule."""

import pytest

from shared.errors import ConfigError
from shared.study import Study, parse_study
from shared.training import TrainingSpec

STUDY = """
[study]
name = "skin"
[task]
kind = "{kind}"
classes = ["melanoma"]
[model]
name = "{model}"
[training]
steps_per_round = 4
{training}
{rest}
"""
PRIVACY = "[privacy]\nnoise_multiplier = 1.0\nsampling_rate = 0.1\npatients_per_step = 10"
AGE = "[clinical.age]\nlow = 0\nhigh = 110"


def study(training: str, rest: str = "", *, kind: str = "classification", model: str = "basic_cnn") -> Study:
    return parse_study(STUDY.format(training=training, rest=rest, kind=kind, model=model))


def spec(**keys: object) -> TrainingSpec:
    return TrainingSpec.model_validate({"epochs_per_round": 1, **keys})


def test_the_focal_loss_has_a_gamma_and_no_other_has() -> None:
    assert spec().focal_gamma is None
    assert spec(loss="focal").focal_gamma == 2.0
    assert spec(loss="focal", focal_gamma=0.5).focal_gamma == 0.5
    with pytest.raises(ValueError, match="goes with loss = focal, and only with it"):
        spec(loss="weighted", focal_gamma=2.0)


def test_a_constant_rate_is_that_of_every_round() -> None:
    asked = spec(learning_rate=0.1)
    assert asked.at(1, of=8) is asked.at(8, of=8) is asked


def test_a_cosine_falls_from_the_whole_rate_towards_nothing() -> None:
    asked = spec(learning_rate=0.1, schedule="cosine")
    rates = [asked.at(number, of=4).learning_rate for number in (1, 2, 3, 4)]
    assert rates == pytest.approx([0.1, 0.0853553, 0.05, 0.0146447], rel=1e-4)
    assert asked.at(5, of=4).learning_rate == rates[-1]  # none is 0, whatever comes late


@pytest.mark.parametrize("asked", ['loss = "weighted"', 'sampling = "class_balanced"', "mixup = 0.2"])
def test_privacy_refuses_what_draws_weighs_or_mixes_patients(asked: str) -> None:
    assert study(asked).training is not None
    with pytest.raises(ConfigError, match="draws every patient with one probability"):
        study(asked, PRIVACY)


def test_privacy_takes_the_focal_loss_and_a_schedule() -> None:
    assert study('loss = "focal"\nschedule = "cosine"', PRIVACY).privacy is not None


@pytest.mark.parametrize(
    ("asked", "key"), [('loss = "focal"', "loss"), ('sampling = "class_balanced"', "sampling"), ("mixup = 1", "mixup")]
)
def test_masks_are_learned_by_their_own_loss_alone(asked: str, key: str) -> None:
    assert study('schedule = "cosine"', kind="segmentation", model="unet").training is not None
    with pytest.raises(ConfigError, match=f"training.{key} goes with classification"):
        study(asked, kind="segmentation", model="unet")


def test_clinical_values_are_not_mixed() -> None:
    assert study('loss = "weighted"', AGE).clinical
    with pytest.raises(ConfigError, match="nobody's; use mixup = 0"):
        study("mixup = 0.2", AGE)


def test_rarity_is_made_up_for_once() -> None:
    with pytest.raises(ValueError, match="take one of them"):
        TrainingSpec(epochs_per_round=1, loss="weighted", sampling="class_balanced")
