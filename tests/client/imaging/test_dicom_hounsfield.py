"""CT is seen in the study's window, whatever a header says."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from client.imaging.dicom import Dicom
from client.imaging.dicom_hounsfield import in_hounsfield
from client.imaging.reasons import Reason, SetAside

Encode = Callable[..., bytes]
STORED = np.arange(64, dtype=np.uint16).reshape(8, 8) * 50  # 0..3150, so -1024..2126 HU
CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 10}
LUNG = (-1000.0, 400.0)


def pixels(data: bytes, hu: tuple[float, float] | None) -> np.ndarray:
    Dicom(hu).facts(data)
    (found,) = Dicom(hu).pixels(data, [0])
    return found


@pytest.mark.parametrize(("hu", "low", "high"), [(LUNG, -1000, 400), ((0.0, 80.0), 0, 80), (None, -1000, 1000)])
def test_the_window_is_the_studys(dicom_bytes: Encode, hu: Any, low: int, high: int) -> None:
    values = STORED.astype(float) - 1024
    wanted = np.clip((values - low) / (high - low), 0, 1) * 65535
    np.testing.assert_allclose(pixels(dicom_bytes(STORED, **CT), hu), wanted, atol=0.51)


def test_the_rescale_of_each_frame_counts(make_dicom: Callable[..., Dataset]) -> None:
    for slope, inside in ((2, True), (None, False)):
        header = make_dicom(STORED, Modality="CT")
        words, group = Dataset(), Dataset()
        words.RescaleIntercept, words.RescaleType = -1024, "HU"
        if slope:
            words.RescaleSlope = slope
        group.PixelValueTransformationSequence = [words]
        header.PerFrameFunctionalGroupsSequence = [group]
        assert in_hounsfield(header) is inside


@pytest.mark.parametrize("changed", [{"Modality": "MR"}, {"RescaleIntercept": None}, {"RescaleType": "Z_EFF"}])
def test_what_is_no_ct_keeps_its_own_window_or_is_set_aside(dicom_bytes: Encode, changed: dict[str, Any]) -> None:
    said = {name: value for name, value in {**CT, **changed}.items() if value is not None}
    data = dicom_bytes(STORED, **said)
    assert set(np.unique(pixels(data, None)).tolist()) >= {0, 65535}  # a window of 10 leaves little between
    with pytest.raises(SetAside) as caught:
        pixels(data, LUNG)
    assert caught.value.reason is Reason.NO_HOUNSFIELD


def test_padding_is_black(dicom_bytes: Encode) -> None:
    data = dicom_bytes(STORED, **CT, PixelPaddingValue=3150)
    assert pixels(data, LUNG)[-1, -1] == 0
    assert pixels(data, LUNG)[-1, -2] == 65535
