"""Images of scanners that differ in gain and gamma come onto one scale, which the sites' percentiles give."""

from typing import Any

import numpy as np
import pytest

from client.imaging.examples import Examples
from client.imaging.fit import fit
from client.imaging.landmarks import onto
from client.work.surveying import _intensity
from server.landmarks import landmarks_of
from shared.images import ImageSpec
from shared.survey import SPLITS, Survey

SIDE = 32


def scanned(*, gain: float, gamma: float) -> list[Any]:
    """The same sixteen bodies, as a scanner shows them."""
    bodies = np.random.default_rng(3).beta(2, 3, (16, SIDE, SIDE))
    return [np.rint(gain * body**gamma * 65535).astype(np.uint16) for body in bodies]


def survey_of_pixels(images: list[Any]) -> Survey:
    many = np.stack(images)[:, None]
    part = Examples(images=many, labels=np.zeros((16, 1), np.int64), patients=np.arange(16))
    empty = {"patients": 16, "classes": {}}
    fields = {"found": 16, "used": 16, "set_aside": {}, "splits": dict.fromkeys(SPLITS, empty), "vendors": {}}
    return Survey.model_validate(fields | {"missing": {}, "intensity": _intensity(part, smallest=1)})


def test_three_scanners_come_to_one_scale() -> None:
    sites = [scanned(gain=0.4, gamma=1.0), scanned(gain=1.0, gamma=0.5), scanned(gain=0.7, gamma=0.8)]
    plain = ImageSpec(size_px=SIDE)
    landmarks = landmarks_of(map(survey_of_pixels, sites), plain)
    assert landmarks is not None
    before, after = (
        [np.stack([fit(image, spec) for image in images]) / 65535 for images in sites]
        for spec in (plain, ImageSpec(size_px=SIDE, landmarks=landmarks))
    )
    assert np.abs(before[0] - before[1]).mean() > 0.3
    assert np.abs(after[0] - after[1]).mean() < 0.02
    for images in after:
        np.testing.assert_allclose(np.percentile(images[0], (5, 50, 95)), landmarks, atol=0.005)


def test_black_stays_black_white_white_and_the_order_is_kept() -> None:
    image = np.concatenate([np.zeros(500), np.linspace(0, 65535, 501)]).astype(np.uint16)
    mapped = onto(image, (0.1, 0.2, 0.7))
    assert (mapped[0], mapped[-1]) == (0, 65535)
    assert (np.diff(mapped.astype(int)) >= 0).all()


@pytest.mark.parametrize("level", [0, 1000, 65535])
def test_an_image_of_one_value_is_mapped_to_one(level: int) -> None:
    mapped = onto(np.full((4, 4), level, np.uint16), (0.1, 0.5, 0.9))
    assert len(np.unique(mapped)) == 1
    assert mapped.shape == (4, 4)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"landmarks": (0.1, 0.1, 0.9)}, "ascend"),
        ({"landmarks": (0.1, 0.5, 0.9), "hu": (-1000, 400)}, "one scale for all sites already"),
        ({"landmarks": (0.1, 0.5, 0.9), "channels": 3}, "grey images"),
    ],
)
def test_landmarks_that_mean_nothing_are_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ImageSpec.model_validate(keys)


@pytest.mark.parametrize("asked", [{"landmarks": (0.1, 0.5, 0.9)}, {"hu": (-1000, 400)}, {"channels": 3}])
def test_no_scale_is_told_where_a_study_has_one_or_is_in_colour(asked: dict[str, Any]) -> None:
    surveys = [survey_of_pixels(scanned(gain=gain, gamma=1.0)) for gain in (0.5, 0.8, 1.0)]
    assert landmarks_of(surveys, ImageSpec.model_validate(asked)) is None
    assert landmarks_of(surveys, ImageSpec()) is not None


def test_the_scale_is_no_sites_own() -> None:
    own = [(0.1, 0.3, 0.6), (0.2, 0.4, 0.9), (0.2, 0.5, 0.9)]
    plain = survey_of_pixels(scanned(gain=1.0, gamma=1.0))
    surveys = [plain.model_copy(update={"intensity": one}) for one in own]
    assert landmarks_of(surveys, ImageSpec()) == (0.17, 0.4, 0.8)


def test_no_scale_is_told_from_which_a_site_could_work_out_anothers() -> None:
    surveys = [survey_of_pixels(scanned(gain=gain, gamma=1.0)) for gain in (0.5, 1.0)]
    silent = surveys[0].model_copy(update={"intensity": None})
    assert landmarks_of([*surveys, silent], ImageSpec()) is None


@pytest.mark.parametrize("shape", [(SIDE, SIDE), (SIDE, SIDE // 2), (SIDE // 4, SIDE)])
def test_the_scale_does_not_depend_on_an_images_shape(shape: tuple[int, int]) -> None:
    tissue = np.linspace(1000, 50000, shape[0] * shape[1]).reshape(shape).astype(np.uint16)
    mapped = fit(tissue, ImageSpec(size_px=SIDE, landmarks=(0.1, 0.5, 0.9)))
    assert mapped.shape == (1, SIDE, SIDE)
    assert (mapped == 0).sum() == SIDE * SIDE - tissue.size  # the borders
    assert np.median(mapped[mapped > 0]) / 65535 == pytest.approx(0.5, abs=0.01)


def test_what_lies_outside_of_a_scan_does_not_move_a_volume() -> None:
    tissue = np.linspace(1000, 50000, 4 * SIDE * SIDE).reshape(4, SIDE, SIDE).astype(np.uint16)
    whole = np.concatenate([tissue, np.zeros((12, SIDE, SIDE), np.uint16)])
    np.testing.assert_array_equal(onto(whole, (0.1, 0.5, 0.9))[:4], onto(tissue, (0.1, 0.5, 0.9)))


def of_patients(*images: Any, patients: list[int]) -> Examples:
    return Examples(
        images=np.stack(images)[:, None],
        labels=np.zeros((len(images), 1), np.int64),
        patients=np.array(patients, np.int64),
    )


def test_a_patient_of_many_images_counts_as_one_of_few() -> None:
    dark, bright = np.full((8, 8), 6554, np.uint16), np.full((8, 8), 52428, np.uint16)
    part = of_patients(*[dark] * 300, *[bright] * 11, patients=[0] * 300 + list(range(1, 12)))
    assert _intensity(part, smallest=11) == (0.1, 0.8, 0.8)


def test_nothing_is_told_where_too_few_patients_were_looked_at() -> None:
    grey, black = np.full((8, 8), 30000, np.uint16), np.zeros((8, 8), np.uint16)
    part = of_patients(*[grey] * 10, black, patients=list(range(11)))
    assert _intensity(part, smallest=11) is None
    assert _intensity(part, smallest=10) is not None
    many = of_patients(*[grey] * 300, patients=list(range(300)))
    assert _intensity(many, smallest=300) is not None
    assert _intensity(many, smallest=301) is None


def test_borders_do_not_darken_what_a_survey_tells() -> None:
    padded = np.zeros((8, 8), np.uint16)
    padded[:, 2:6] = 32768
    assert _intensity(of_patients(padded, padded, patients=[0, 1]), smallest=2) == (0.5, 0.5, 0.5)
