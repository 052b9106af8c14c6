"""A table beside an array file: what it says of each image becomes arrays, as clinical columns are read.

Decides which column names the images, and which line belongs to which. What the columns mean is left to the study.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

_REMEDY = "Give a CSV with a header, one column of which is called as an array of the file and names its images."


def read_beside(table: Path, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.str_]]:
    """The other columns of a CSV, one word for each image; empty where the table has no line for it.

    Args:
        table: with a header; its first column that is called as one of the arrays is the key.
        arrays: one-dimensional, of equal length, by name.

    Raises:
        ConfigError: the table cannot be read, has no such column, names an image twice, or knows none of them.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header, lines = list(reader.fieldnames or ()), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise ConfigError("The table beside the array file cannot be read.", remedy=_REMEDY) from None
    key = next((name for name in header if name in arrays), None)
    if key is None:
        raise ConfigError("No column of the table is called as an array of the file.", remedy=_REMEDY)
    by_key = {line[key]: line for line in lines}
    if len(by_key) < len(lines):
        raise ConfigError(f"The table's column {key} names an image twice.", remedy="Keep one line for each.")
    images = arrays[key].astype(str).tolist()
    if not by_key.keys() & set(images):
        raise ConfigError(f"The table's column {key} names no image of the file.", remedy=_REMEDY)
    others = [name for name in header if name not in arrays]
    return {name: np.array([by_key.get(image, {}).get(name) or "" for image in images]) for name in others}
