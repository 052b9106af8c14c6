"""What a study may ask of images."""

from typing import Any

import pytest
from pydantic import ValidationError

from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.study import parse_study


def test_shapes_and_words() -> None:
    flat, deep = ImageSpec(size_px=28, channels=3), ImageSpec(size_px=32, slices=16)
    assert (flat.grid, flat.shape, flat.words) == ((28, 28), (3, 28, 28), "28 x 28 px, 3 channels")
    assert (deep.grid, deep.shape, deep.words) == ((16, 32, 32), (1, 16, 32, 32), "16 slices of 32 x 32 px")


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        ({"spacing_mm": [1, 1, 1]}, "goes with slices"),
        ({"slices": 16, "channels": 3}, "one channel"),
        ({"slices": 256, "size_px": 512}, "voxels"),
        ({"hu": [400, -1000]}, "black first"),
        ({"slices": 16, "spacing_mm": [1, 1]}, "spacing_mm"),
        ({"slices": 16, "spacing_mm": [1, 1, 0]}, "spacing_mm"),
        ({"hu": [float("nan"), 0]}, "hu"),
    ],
)
def test_what_cannot_be_asked(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ImageSpec.model_validate(said)


def test_a_study_of_volumes_survives_its_journey() -> None:
    text = """
        study.name = "lungs"
        task.classes = ["nodule"]
        training.steps_per_round = 1
        images = {size_px = 64, slices = 32, spacing_mm = [1.5, 1.5, 3], hu = [-1000, 400]}
    """
    study = parse_study(text)
    assert type(study).model_validate_json(study.canonical()) == study
    with pytest.raises(ConfigError, match=r"images.*depth"):
        parse_study(text.replace("slices", "depth"))
