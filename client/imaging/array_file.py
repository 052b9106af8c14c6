"""A .npy file that grows image by image and is read as a memory map.

Decides the order of writes. Written through the file and not through a map, because a full disk
under a map kills the process (SIGBUS) where a write returns an error.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shared.durable import wait_for_disk


class ArrayFile:
    """Appends uint16 images of one shape; the count in the header is set on close.

    Args:
        path: the new file, mode 0600.
        shape: of one image.
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._count = 0
        self._file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb")
        self._header()

    def append(self, image: NDArray[np.uint16]) -> None:
        """Write one more image.

        Raises:
            ValueError: another shape or dtype.
            OSError: the disk is full.
        """
        if image.shape != self._shape or image.dtype != np.uint16:
            raise ValueError("the image has another shape or dtype than the file")
        self._file.write(image.astype("<u2").tobytes())
        self._count += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._file.seek(0)
                self._header()
                self._file.flush()
                wait_for_disk(self._file.fileno())
        finally:
            self._file.close()

    def _header(self) -> None:
        # numpy pads the header for a growing first axis, so its length does not depend on the count.
        fields = {"descr": "<u2", "fortran_order": False, "shape": (self._count, *self._shape)}
        np.lib.format.write_array_header_1_0(self._file, fields)


def open_array(path: Path, *, count: int, shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Map a finished file read-only.

    Raises:
        ValueError: the file is not an array of `count` images of this shape.
        OSError: there is no such file.
    """
    if count == 0:
        return np.empty((0, *shape), dtype=np.uint16)  # an empty file region cannot be mapped
    images = np.load(path, mmap_mode="r", allow_pickle=False)
    if images.shape != (count, *shape) or images.dtype != np.dtype("<u2"):
        raise ValueError("the array file has another shape or dtype")
    return np.asanyarray(images)
