"""Black and white of a volume: from what was measured to what the cache holds.

Decides the window: the study's, or the spread of the volume's own values. Outside of the scan is black. That a
window is in Hounsfield units, and who may be measured in them, is left to the formats.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.form import Pixels
from client.imaging.reasons import Reason, SetAside
from client.imaging.window import spread, stretch_limits, to_uint16

Limits = tuple[float, float]  # black and white, in the unit of the values


def clipped(values: NDArray[Any], limits: Limits | None) -> NDArray[Any]:
    """The values no blacker than black and no whiter than white, so that metal does not shine into its neighbours."""
    return values if limits is None else np.clip(values, *limits)


def levelled(values: NDArray[np.float32], inside: NDArray[np.bool_], limits: Limits | None) -> Pixels:
    """A volume between black and white.

    Args:
        values: any shape.
        inside: the same shape; False outside of the scan.
        limits: None for the 0.5th and 99.5th percentile of what is inside.

    Raises:
        SetAside: one value throughout, so that there is nothing to see.
    """
    if not inside.any():
        raise SetAside(Reason.EMPTY_VOLUME)
    low, high = limits or stretch_limits(values[inside].astype(np.float64))
    levels = to_uint16(spread(values.astype(np.float64), low, high))
    levels[~inside] = 0
    if levels.min() == levels.max():
        raise SetAside(Reason.EMPTY_VOLUME)
    return levels
