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
        ({"patch": {"size_px": 32, "slices": 16}}, r"patch\.slices goes with slices"),
        ({"slices": 16, "patch": {"size_px": 32}}, r"patch\.slices goes with slices"),
        ({"size_px": 64, "patch": {"size_px": 96}}, "larger than images of 64 x 64 px"),
        ({"patch": {"size_px": 32, "overlap": 1.0}}, "overlap"),
    ],
)
def test_what_cannot_be_asked(said: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ImageSpec.model_validate(said)


def test_what_a_network_sees_at_a_time() -> None:
    spec = ImageSpec.model_validate({"size_px": 64, "slices": 40, "patch": {"size_px": 32, "slices": 16}})
    assert (spec.shape, spec.seen) == ((1, 40, 64, 64), (1, 16, 32, 32))
    assert spec.seen_words == "40 slices of 64 x 64 px, seen in patches of 16 slices of 32 x 32 px"
    assert ImageSpec(size_px=28, channels=3).seen == (3, 28, 28)


@pytest.mark.parametrize(
    ("network", "kind", "size_px", "fault"),
    [
        ("unet", "segmentation", 48, None),
        ("segresnet", "segmentation", 36, None),
        ("unet", "segmentation", 40, "multiples of 16"),
        ("segresnet", "segmentation", 42, "multiples of 4"),
        ("basic_cnn", "classification", 32, "goes with task.kind = segmentation"),
    ],
)
def test_which_networks_see_patches(network: str, kind: str, size_px: int, fault: str | None) -> None:
    text = f"""
        study.name = "lungs"
        task = {{kind = "{kind}", classes = ["nodule"]}}
        training.steps_per_round = 1
        images = {{size_px = 100, patch = {{size_px = {size_px}}}}}
        model.name = "{network}"
    """
    if fault is None:
        assert parse_study(text).images.patch is not None
    else:
        with pytest.raises(ConfigError, match=fault):
            parse_study(text)


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
