"""From values to display range: which value is black and which is white.

Decides the mapping of real-world values to 0..1 and of 0..1 to uint16. Where the window comes from
is left to `dicom`.
"""

import numpy as np
from numpy.typing import NDArray

FULL = 65535
_LOW_PERCENT, _HIGH_PERCENT = 0.5, 99.5  # beyond them lie burnt-in marks and dead detector cells


def window(values: NDArray[np.float64], *, center: float, width: float, function: str) -> NDArray[np.float64]:
    """Apply a VOI window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Args:
        values: any shape, after the modality transform.
        center: window centre, in the unit of the values.
        width: window width; `usable_window` says which are allowed.
        function: LINEAR, LINEAR_EXACT or SIGMOID.

    Returns:
        Values in 0..1, the same shape.
    """
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0, 1)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0, 1)


def usable_window(*, center: float, width: float, function: str) -> bool:
    """Whether the standard gives the window a meaning."""
    return bool(np.isfinite(center) and np.isfinite(width) and (width >= 1 if function == "LINEAR" else width > 0))


def stretch_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 0.5th and 99.5th percentile, or the least and the greatest value where the two are one.

    Args:
        values: at least one.
    """
    low, high = np.percentile(values, [_LOW_PERCENT, _HIGH_PERCENT])
    return (float(low), float(high)) if high > low else (float(values.min()), float(values.max()))


def own_limits(values: NDArray[np.float64], *, valid: NDArray[np.bool_]) -> tuple[float, float]:
    """What `stretch_limits` says of the valid values; nothing between them where there are none.

    Args:
        values: any shape.
        valid: the same shape; padding is False.
    """
    return stretch_limits(values[valid]) if valid.any() else (0.0, 0.0)


def spread(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Spread low to high over 0..1; where there is nothing between them, all is 0."""
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def to_uint16(shares: NDArray[np.float64]) -> NDArray[np.uint16]:
    """Round 0..1 to 0..65535."""
    return np.rint(np.clip(shares, 0, 1) * FULL).astype(np.uint16)
