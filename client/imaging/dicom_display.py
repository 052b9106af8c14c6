"""From stored values to display values: black is 0, white 65535.

Decides the order of what the standard puts between the two (PS3.3 C.7.6.3, C.7.5.1.1.2, C.11.1, C.11.2):
modality look-up table or rescale, then the study's window where the values are Hounsfield units, else the first VOI
look-up table, else the first window by its function (LINEAR, LINEAR_EXACT, SIGMOID), else the spread of the values;
MONOCHROME1 inverted; padding black.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi

from client.imaging.form import Pixels
from client.imaging.levels import Limits
from client.imaging.reasons import Reason, SetAside
from client.imaging.window import own_limits, spread, to_uint16, usable_window, window


def display(stored: NDArray[Any], meaning: Dataset, limits: Limits | None = None) -> Pixels:
    """One frame's display values.

    Args:
        stored: (rows, columns) or (rows, columns, 3), as `dicom_frames` yields them.
        meaning: the elements that say what they mean.
        limits: black and white of values that are Hounsfield units (`dicom_hounsfield`).

    Raises:
        SetAside: the values are not finite.
    """
    if is_grey(meaning):
        return _grey(stored, meaning, limits)
    return _colour(stored, meaning)


def is_grey(meaning: Dataset) -> bool:
    """Whether pixels are measurements, and not colours."""
    return meaning.PhotometricInterpretation in ("MONOCHROME1", "MONOCHROME2")


def measured(stored: NDArray[Any], meaning: Dataset) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """One grey frame's values after the modality transform, and False where there are none, but padding.

    Raises:
        SetAside: the values are not finite.
    """
    values = np.asarray(apply_modality_lut(stored, meaning), dtype=np.float64)
    if not np.isfinite(values).all():
        raise SetAside(Reason.UNREADABLE)
    return values, ~_padding(stored, meaning)


def _grey(stored: NDArray[Any], meaning: Dataset, limits: Limits | None) -> Pixels:
    if limits is None and not _says_window(meaning):
        values, valid = measured(stored, meaning)
        limits = own_limits(values, valid=valid)
    whole = stored.dtype.kind in "iu"
    low, high = (int(stored.min()), int(stored.max())) if whole else (0, 0)
    if not whole or high - low >= stored.size:
        return _levels(stored, meaning, limits)
    # What a pixel becomes depends on its stored value alone: each is worked out once, and looked up.
    levels = _levels(np.arange(low, high + 1).astype(stored.dtype), meaning, limits)
    return levels[stored.astype(np.int64) - low]


def _levels(stored: NDArray[Any], meaning: Dataset, limits: Limits | None) -> Pixels:
    values, valid = measured(stored, meaning)
    shares = spread(values, *limits) if limits else _windowed(values, meaning)
    if meaning.PhotometricInterpretation == "MONOCHROME1":
        shares = 1 - shares
    shares[~valid] = 0
    return to_uint16(shares)


def _windowed(values: NDArray[np.float64], meaning: Dataset) -> NDArray[np.float64]:
    """By the window that the header says, which `_says_window` has found."""
    if meaning.get("VOILUTSequence"):
        bits = int(meaning.VOILUTSequence[0].LUTDescriptor[2])
        entries = np.rint(values).astype(np.int64)  # a LUT is looked up by whole numbers
        return np.asarray(apply_voi(entries, meaning, index=0) / (2**bits - 1), dtype=np.float64)
    center, width = _first(meaning, "WindowCenter"), _first(meaning, "WindowWidth")
    assert center is not None and width is not None
    return window(values, center=center, width=width, function=_function(meaning))


def _says_window(meaning: Dataset) -> bool:
    if meaning.get("VOILUTSequence"):
        return True
    center, width = _first(meaning, "WindowCenter"), _first(meaning, "WindowWidth")
    if center is None or width is None:
        return False
    return usable_window(center=center, width=width, function=_function(meaning))


def _function(meaning: Dataset) -> str:
    return str(meaning.get("VOILUTFunction") or "LINEAR").strip().upper()  # another word is taken for LINEAR


def _first(meaning: Dataset, keyword: str) -> float | None:
    value = meaning.get(keyword)
    if value is None or value == "":
        return None
    return float(value if isinstance(value, int | float | str) else value[0])


def _padding(stored: NDArray[Any], meaning: Dataset) -> NDArray[np.bool_]:
    # PS3.3 C.7.5.1.1.2: one value, or the range up to the limit, in stored values.
    ends = [meaning.get(name) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    known = [_as_stored(int(end), meaning) for end in ends if end is not None]
    if ends[0] is None:
        return np.zeros(stored.shape, dtype=np.bool_)
    return np.asarray((stored >= min(known)) & (stored <= max(known)))


def _as_stored(value: int, meaning: Dataset) -> int:
    # Some writers give a signed padding value an unsigned VR.
    bits = int(meaning.BitsAllocated)
    return value - 2**bits if meaning.PixelRepresentation == 1 and value >= 2 ** (bits - 1) else value


def _colour(stored: NDArray[Any], meaning: Dataset) -> Pixels:
    top = 2 ** int(meaning.BitsStored) - 1
    if meaning.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, meaning)
        top = np.iinfo(stored.dtype).max
    return to_uint16(stored[..., :3].astype(np.float64) / top)
