"""A pixel's level is looked up, and is what it would be if each pixel were worked out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.imaging.dicom_display import display
from client.imaging.dicom_frames import meaning_of

WINDOW = {"WindowCenter": 20, "WindowWidth": 30}


@pytest.mark.parametrize(
    ("dtype", "elements"),
    [
        ("uint16", {}),
        ("int16", {"RescaleSlope": "0.37", "RescaleIntercept": "-7.5"}),
        ("uint8", {"PhotometricInterpretation": "MONOCHROME1", "PixelPaddingValue": 3}),
        ("uint16", {"VOILUTFunction": "SIGMOID"}),
    ],
)
def test_looked_up_or_worked_out_a_pixel_is_the_same(
    make_dicom: Callable[..., Dataset], dtype: str, elements: dict[str, Any]
) -> None:
    stored = np.random.default_rng(5).integers(0, 60, (40, 40)).astype(dtype) - np.array(9 * (dtype[0] == "i"), dtype)
    meaning = meaning_of(make_dicom(stored, **WINDOW, **elements), 0)
    worked_out = [display(pair[None], meaning) for pair in stored.reshape(-1, 2)]  # more values between than pixels
    np.testing.assert_array_equal(display(stored, meaning).reshape(-1, 2), np.concatenate(worked_out))
