"""The arrays of an .npz archive: opening one, reading its header, and what stands in the way.

Decides what is damage, which the site mends by another file, and what the system refuses. What the arrays mean is left
to `npz`. Nothing is unpickled.
"""

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from shared.errors import ConfigError, ResourceError

# What zipfile and numpy raise over bytes that are no archive, or none of ours: encrypted, compressed in another way
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError),
    *(ValueError, TypeError, OverflowError, RuntimeError, SyntaxError, TokenError),
)


@dataclass(frozen=True)
class Header:
    """What an array says of itself: its shape, one image after another, and the dtype of its values."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def item_shape(self) -> tuple[int, ...]:
        """(h, w) or (h, w, 3), (slices, h, w) of a volume: a single channel has no axis of its own."""
        return self.shape[1:-1] if len(self.shape) > 3 and self.shape[-1] == 1 else self.shape[1:]

    @property
    def item_bytes(self) -> int:
        """Of one image."""
        return int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize


@contextmanager
def reading(file: Path, name: str) -> Iterator[Any]:
    """One array of the archive, open.

    Raises:
        ConfigError: there is none of that name, or the archive is damaged there.
        ResourceError: the system does not give it.
    """
    with ExitStack() as opened:
        with sound(f"is damaged at `{name}`"):
            archive = opened.enter_context(zipfile.ZipFile(file))
            try:
                member = opened.enter_context(archive.open(f"{name}.npy"))
            except KeyError:
                raise unusable(f"has no array `{name}`") from None
        yield member


@contextmanager
def sound(fault: str) -> Iterator[None]:
    """Read bytes of the archive.

    Raises:
        ConfigError: they are no archive, or none of ours: `fault` says which.
        ResourceError: the system does not give them.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # bz2 says so of damage, and a seek beyond every end
            raise unusable(fault) from None
        raise ResourceError(
            "The array file could not be read: the system refused.",
            remedy="Look at the disk or share on which data.file of site.toml lies, and at who may read it.",
        ) from None
    except _DAMAGED:
        raise unusable(fault) from None


def read_header(member: Any) -> Header:
    """The header of an array that is open.

    Raises:
        ConfigError: it is none, or one of objects or in column order.
        ResourceError: the system does not give it.
    """
    with sound("holds something that is not an array"):
        version = np.lib.format.read_magic(member)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(member)
    if dtype.hasobject or (fortran and len(shape) > 1):
        raise unusable("holds objects, or arrays in column order")
    return Header(shape, dtype)


def unusable(what: str) -> ConfigError:
    """The error that says what an archive is or has."""
    return ConfigError(f"The array file {what}.", remedy="Correct data.file in site.toml, or the file itself.")
