"""Ways to make a hostile file of a sound picture or volume: damage that its own checksums do not give away.

Decides what is done to PNG, JPEG, TIFF and NIfTI files beside the damage that any file may have (`hostile_bytes`). A
compressed volume is damaged inside and compressed again; the parts of a PNG get the checksums of what they now hold.
"""

import gzip
import struct
import zlib
from collections.abc import Callable

from numpy.random import Generator

from deploy.bench.hostile_bytes import Damage, flipped, noise, odd, repeated, spliced, truncated, written

_GZIP, _PNG = b"\x1f\x8b", b"\x89PNG\r\n\x1a\n"
_HEADER_BYTES = 560  # that of NIfTI-2 has 540, and the header of a picture is among its first bytes
_MIB = 2**20
_BOMBS_MIB = (8, 520, 2048)  # around the limit of 512 MiB, and far beyond it


def number_fields(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Sizes, depths, offsets and kinds in the header that are others."""
    return _within(data, lambda inside: _altered(inside, chance))


def flipped_inside(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Some bits are others, anywhere behind the checksums."""
    return _within(data, lambda inside: flipped(inside, other, chance))


def cut_inside(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Fewer voxels or lines than the header says, in a file that is whole."""
    return _within(data, lambda inside: truncated(inside, other, chance))


def inflated(data: bytes, other: bytes, chance: Generator) -> bytes:
    """A few kilobytes behind the header that inflate to megabytes or gigabytes; gzip takes files in a row for one."""
    zeros = gzip.compress(bytes(_MIB))
    head = gzip.compress(_plain(data)[:_HEADER_BYTES])
    return head + zeros * int(chance.choice(_BOMBS_MIB))


KINDS: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (truncated, flipped, spliced, repeated, noise, number_fields, flipped_inside, cut_inside, inflated)
}


def _altered(data: bytes, chance: Generator) -> bytes:
    for _ in range(int(chance.integers(1, 5))):
        form = ("<H", ">H", "<I", ">I")[int(chance.integers(4))]
        size = struct.calcsize(form)
        at = int(chance.integers(min(len(data), _HEADER_BYTES) + 1)) // size * size
        data = written(data, at, struct.pack(form, odd(chance) % 256**size))
    return data


def _within(data: bytes, damage: Callable[[bytes], bytes]) -> bytes:
    if data.startswith(_GZIP):
        return gzip.compress(damage(_plain(data)), compresslevel=1)
    changed = damage(data)
    return _sealed(changed) if data.startswith(_PNG) else changed


def _plain(data: bytes) -> bytes:
    try:
        return gzip.decompress(data) if data.startswith(_GZIP) else data
    except (OSError, EOFError, zlib.error):
        return data


def _sealed(data: bytes) -> bytes:
    """A PNG whose parts, as far as their lengths lead, have the right checksums (ISO/IEC 15948, 5.3)."""
    at = len(_PNG)
    while at + 12 <= len(data):
        end = at + 8 + int(struct.unpack_from(">I", data, at)[0])
        data = written(data, end, struct.pack(">I", zlib.crc32(data[at + 4 : end]))) if end + 4 <= len(data) else data
        at = end + 4
    return data
