"""Ways to make a hostile file of a sound .npz: damage to the archive, and to the arrays in it behind its checksums.

Decides what is done to it; each takes the bytes of a file, those of another one, and a generator that says where and
how. Damage to an array is packed again with the right checksum, so that it is the reader of arrays that meets it.
"""

import io
import zipfile
from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from deploy.bench.hostile_bytes import Damage, flipped, noise, repeated, spliced, truncated

_SHAPES = (
    "()",
    "(0,)",
    "(1,)",
    "(-1, 28, 28)",
    "(2, 28, 28)",
    "(99999999999, 28, 28)",
    "(2, 99999, 99999)",
    "(28,) * 9",
)
_TYPES = ("|O", "<f8", "<u4", "|S9", "<U9", "[('a', '<u2')]", "|V8", ">u2", "<c16", "__import__('os')")
_BOMB_MIB = 80  # inflated; a few hundred kilobytes on the disk


def archive_bytes(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Some bits of the archive are others, mostly of its list of members at the end."""
    end = len(data) * 3 // 4
    return data[:end] + flipped(data[end:], other, chance)


def member_bytes(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Some bits of an array are others, its header among them."""
    return _within(data, chance, lambda inside: flipped(inside[:128], other, chance) + inside[128:])


def member_cut(data: bytes, other: bytes, chance: Generator) -> bytes:
    """An array is shorter than its header says."""
    return _within(data, chance, lambda inside: truncated(inside, other, chance))


def member_shape(data: bytes, other: bytes, chance: Generator) -> bytes:
    """An array says to be of another shape or type than it is, objects among them."""
    shape = _SHAPES[int(chance.integers(len(_SHAPES)))]
    dtype = _TYPES[int(chance.integers(len(_TYPES)))]
    said = f"{{'descr': {dtype!r}, 'fortran_order': {bool(chance.integers(2))}, 'shape': {shape}, }}".encode()
    padded = said + b" " * (-(len(said) + 11) % 64) + b"\n"
    header = b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded
    return _within(data, chance, lambda inside: header + inside[128:])


def member_gone(data: bytes, other: bytes, chance: Generator) -> bytes:
    """An array is not there, or is there under a name that leads elsewhere."""
    names = ("", "../images.npy", "/images.npy", "images.npy/", "images", "im\x00ages.npy")
    return _within(data, chance, lambda inside: inside, name=names[int(chance.integers(len(names)))])


def member_bomb(data: bytes, other: bytes, chance: Generator) -> bytes:
    """An array that inflates to far more than it takes on the disk."""
    return _within(data, chance, lambda inside: inside + bytes(_BOMB_MIB << 20))


KINDS: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        *(truncated, flipped, spliced, repeated, noise, archive_bytes),
        *(member_bytes, member_cut, member_shape, member_gone, member_bomb),
    )
}


def sound_arrays(chance: Generator, *, images: int = 12) -> bytes:
    """A file that a site can use: pictures of some patients, of both classes."""
    packed = io.BytesIO()
    np.savez_compressed(
        packed,
        images=chance.integers(0, 256, (images, 28, 28), dtype=np.uint8),
        labels=np.arange(images) % 2,
        patient=np.array([f"p{number // 2}" for number in range(images)]),
    )
    return packed.getvalue()


def _within(data: bytes, chance: Generator, damage: Callable[[bytes], bytes], *, name: str | None = None) -> bytes:
    """The archive with one of its arrays damaged, or under another name; an empty one leaves it out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    chosen = sorted(members)[int(chance.integers(len(members)))]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, inside in members.items():
            given = member if member != chosen or name is None else name
            if given:
                archive.writestr(given, damage(inside) if member == chosen else inside)
    return packed.getvalue()
