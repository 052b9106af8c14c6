"""Brings an image's intensities onto the study's scale, whatever a scanner made of them.

Of each image the percentiles 5, 50 and 95 of the pixels above black go to the study's landmarks, and what lies between
two of them in a straight line; black stays black and white white (Nyul and Udupa 1999, on a scale that all sites agree
to instead of a training set). So gain, offset and gamma of a scanner go, and what differs within an image stays. Black
does not count: it pads an image to a square and lies outside of a scan, and how much there is says nothing of a
scanner. Which landmarks, `shared/survey.py` and `study cohort` tell from what sites release. Pure.
"""

import numpy as np
from numpy.typing import NDArray

from client.imaging.window import FULL
from shared.survey import PERCENTILES


def onto(pixels: NDArray[np.uint16], landmarks: tuple[float, float, float]) -> NDArray[np.uint16]:
    """Map one image onto a scale.

    Args:
        pixels: any shape.
        landmarks: where the percentiles go, 0 black to 1 white.

    Returns:
        The same shape. A percentile that is white, or equal to the one before it, has no part in the map.
    """
    bright = pixels[pixels > 0]
    if not len(bright):
        return pixels
    own = np.percentile(bright, PERCENTILES) / FULL
    places = [(0.0, 0.0)]
    for found, wanted in zip(own, landmarks, strict=True):
        if places[-1][0] < found < 1:
            places.append((float(found), wanted))
    given, scale = zip(*places, (1.0, 1.0), strict=True)
    table = np.rint(np.interp(np.arange(FULL + 1) / FULL, given, scale) * FULL).astype(np.uint16)
    mapped: NDArray[np.uint16] = table[pixels]
    return mapped
