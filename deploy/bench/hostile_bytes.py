"""Ways to make a hostile file of a sound DICOM file: what damage, malice and broken writers leave of it.

Decides the kinds of damage; each takes the bytes of a file, those of another one, and a generator that says where
and how. Values that break a reader stand here; in which file and under which name is left to `hostile_folder`.
Places are looked for in the bytes, so that nothing that reads DICOM decides what a reader of DICOM meets.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from numpy.random import Generator

Damage = Callable[[bytes, bytes, Generator], bytes]

_LONG_VR = re.compile(rb"(?:OB|OW|OF|OD|OL|SQ|UN|UT|UC|UR)\x00\x00")
_SHORT_VR = re.compile(rb"AE|AS|AT|CS|DA|DS|FL|FD|IS|LO|LT|PN|SH|SL|SS|ST|TM|UI|UL|US")
_VRS = (b"SQ", b"UN", b"OB", b"DS", b"IS", b"US", b"FD", b"AT", b"PN", b"UI", b"\x00\x00", b"??")
_PIXELS = (b"\xe0\x7f\x10\x00", b"\x7f\xe0\x00\x10")  # (7FE0,0010), little and big endian
_ITEM = b"\xfe\xff\x00\xe0"
_ENDLESS = b"\xff\xff\xff\xff"
_ODD = (0, 1, 2, 7, 0x7F, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_ODD_WORDS = (b"9", b"-", b"0", b"\\", b"nan", b"1e999", b"\xff", b"\x00", b" ", b"..\\/")
# Group 0028: samples, photometric, planar, frames, rows, columns, bits, padding, window, rescale, tables.
_IMAGE = (
    *(0x0002, 0x0004, 0x0006, 0x0008, 0x0010, 0x0011, 0x0100, 0x0101, 0x0102, 0x0103, 0x0120, 0x0121),
    *(0x1050, 0x1051, 0x1052, 0x1053, 0x1056, 0x1101, 0x1102, 0x1103, 0x1201, 0x3002, 0x3006),
)
_SYNTAX = re.compile(rb"\x02\x00\x10\x00UI(..)(1\.2\.840\.10008\.1\.2[.\d]*\x00?)", re.DOTALL)
_UIDS = tuple(
    b"1.2.840.10008.1.2" + end
    for end in (
        *(b"", b".1", b".1.99", b".2", b".5", b".4.50", b".4.51", b".4.57", b".4.70", b".4.80", b".4.81"),
        *(b".4.90", b".4.91", b".4.201", b".4.202", b".4.203", b".4.100", b".999", b".1.98"),
    )
)
_J2K_SIZE = re.compile(rb"\xff\x4f\xff\x51")
_JPEG_FRAME = re.compile(rb"\xff[\xc0\xc1\xc3\xf7]")
_MIB = 2**20
_BOMBS_MIB = (8, 200, 300, 2048)  # around the limit of 256 MiB, and far beyond it


def truncated(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Cut off anywhere."""
    return data[: int(chance.integers(len(data)))]


def flipped(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Some bits of it are others."""
    return _flipped(data, 0, len(data), chance)


def flipped_header(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Some bits of its header are others."""
    return _flipped(data, min(128, len(data) - 1), _pixels_at(data), chance)


def flipped_pixels(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Some bits of its pixels are others."""
    return _flipped(data, min(_pixels_at(data), len(data) - 1), len(data), chance)


def length_fields(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Elements that say to be longer or shorter than they are."""
    for _ in range(int(chance.integers(1, 4))):
        at = _one([*(m.end() for m in _LONG_VR.finditer(data)), *(m.end() for m in _SHORT_VR.finditer(data))], chance)
        size = "<I" if data[at - 2 : at] == b"\x00\x00" else "<H"
        data = written(data, at, struct.pack(size, odd(chance) % 256 ** struct.calcsize(size)))
    return data


def value_types(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Elements of another type than their values have."""
    at = _one([m.start() for m in _SHORT_VR.finditer(data)], chance)
    return written(data, at, _VRS[int(chance.integers(len(_VRS)))])


def dimensions(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Huge, empty or negative images, bit depths that do not exist, tables without end."""
    orders = ((order, number) for order in "<>" for number in _IMAGE)
    found = [at for at in (data.find(struct.pack(f"{order}HH", 0x0028, number)) for order, number in orders) if at >= 0]
    for _ in range(int(chance.integers(1, 4))):
        data = _altered(data, _one(found, chance) + 8, chance)
    return data


def nested(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Sequences within sequences, closed or not."""
    level = b"\x09\x00\x00\x10SQ\x00\x00" + _ENDLESS + _ITEM + _ENDLESS
    depth = int(chance.choice((20, 900, 50_000)))
    close = (b"\xfe\xff\x0d\xe0" + bytes(4) + b"\xfe\xff\xdd\xe0" + bytes(4)) * int(chance.integers(2))
    at = min(_pixels_at(data), len(data))
    return data[:at] + level * depth + close * depth + data[at:]


def deflated(data: bytes, other: bytes, chance: Generator) -> bytes:
    """A few kilobytes that inflate to megabytes or gigabytes of pixels."""
    size = int(chance.choice(_BOMBS_MIB))
    body = data[_meta_ends(data) : _pixels_at(data)] + _PIXELS[0] + b"OW\x00\x00" + struct.pack("<I", size * _MIB)
    first = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    head = first.compress(body) + first.flush(zlib.Z_FULL_FLUSH)
    more = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = more.compress(bytes(_MIB)) + more.flush(zlib.Z_FULL_FLUSH)  # whole bytes, so it may be repeated
    return _with_syntax(data[: _meta_ends(data)], b"1.2.840.10008.1.2.1.99") + head + zeros * size + more.flush()


def other_syntax(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Pixels of one compression under the name of another."""
    return _with_syntax(data, _UIDS[int(chance.integers(len(_UIDS)))])


def codestream(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Compressed images that say to be larger than the header does, or of more components."""
    sizes = [m.start() + 8 for m in _J2K_SIZE.finditer(data)]
    frames = [m.start() + 5 for m in _JPEG_FRAME.finditer(data, min(_pixels_at(data), len(data)))]
    if not sizes + frames:
        return flipped_pixels(data, other, chance)
    at = _one(sizes + frames, chance)
    width, places = ("I", 9) if at in sizes else ("H", 3)
    for place in chance.integers(places, size=2):
        data = written(data, at + int(place) * struct.calcsize(width), _packed(f">{width}", chance))
    return data


def fragments(data: bytes, other: bytes, chance: Generator) -> bytes:
    """Items of compressed pixels, and the offsets and RLE headers in them, that lead elsewhere."""
    items = [m.start() for m in re.finditer(re.escape(_ITEM), data) if m.start() > _pixels_at(data)]
    if not items:
        return length_fields(data, other, chance)
    at = _one(items, chance)
    return written(data, at + 4 * int(chance.integers(1, 6)), _packed("<I", chance))


def spliced(data: bytes, other: bytes, chance: Generator) -> bytes:
    """The beginning of one file and the end of another."""
    return data[: int(chance.integers(len(data)))] + other[int(chance.integers(len(other))) :]


def foreign_pixels(data: bytes, other: bytes, chance: Generator) -> bytes:
    """The header of one file and the pixels of another."""
    return data[: _pixels_at(data)] + other[_pixels_at(other) :]


def repeated(data: bytes, other: bytes, chance: Generator) -> bytes:
    """A piece of it many times, in its place."""
    start = int(chance.integers(len(data)))
    piece = data[start : start + int(chance.integers(1, 300))]
    return data[:start] + piece * int(chance.integers(2, 4000)) + data[start:]


def long_words(data: bytes, other: bytes, chance: Generator) -> bytes:
    """An identifier of a megabyte, of characters that a table, a path or a terminal may trip over."""
    at = min(_pixels_at(data), len(data))
    word = _ODD_WORDS[int(chance.integers(len(_ODD_WORDS)))] * int(chance.choice((3, 30_000, 300_000)))
    tag = (b"\x10\x00\x20\x00", b"\x20\x00\x0d\x00", b"\x08\x00\x05\x00")[int(chance.integers(3))]
    return data[:at] + tag + b"UT\x00\x00" + struct.pack("<I", len(word)) + word + data[at:]


def noise(data: bytes, other: bytes, chance: Generator) -> bytes:
    """No DICOM at all, behind a beginning that looks like it."""
    starts = (b"", bytes(128) + b"DICM", data[:200], b"\x08\x00\x05\x00", b"\x02\x00\x00\x00UL")
    return starts[int(chance.integers(len(starts)))] + chance.bytes(int(chance.integers(1, 20_000)))


KINDS: dict[str, Damage] = {
    damage.__name__: damage
    for damage in (
        *(truncated, flipped, flipped_header, flipped_pixels, length_fields, value_types, dimensions, nested),
        *(deflated, other_syntax, codestream, fragments, spliced, foreign_pixels, repeated, long_words, noise),
    )
}


def _pixels_at(data: bytes) -> int:
    """Where the pixels begin; the end of a file without any."""
    found = [at for at in map(data.rfind, _PIXELS) if at >= 0]
    return max(found) if found else len(data)


def _meta_ends(data: bytes) -> int:
    # (0002,0000) UL 4: bytes of the file meta information that follow it.
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        return min(132, len(data))
    return int(144 + struct.unpack_from("<I", data, 140)[0])


def _with_syntax(data: bytes, uid: bytes) -> bytes:
    found = _SYNTAX.search(data)
    if found is None:
        return data
    uid += b"\x00" * (len(uid) % 2)
    named = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(uid)) + uid
    changed = data[: found.start()] + named + data[found.end() :]
    ends = _meta_ends(data) + len(changed) - len(data)
    return written(changed, 140, struct.pack("<I", (ends - 144) % 2**32))


def _flipped(data: bytes, start: int, end: int, chance: Generator) -> bytes:
    changed = bytearray(data)
    for at in chance.integers(start, max(end, start + 1), size=int(chance.integers(1, 40))):
        changed[int(at)] ^= 1 << int(chance.integers(8))
    return bytes(changed)


def _altered(data: bytes, at: int, chance: Generator) -> bytes:
    """Another value in place of one of two bytes or more, text for text."""
    if data[at : at + 1].isalnum() and data[at + 1 : at + 2].isascii() and data[at + 1 : at + 2] != b"\x00":
        return written(data, at, (_ODD_WORDS[int(chance.integers(len(_ODD_WORDS)))] * 8)[:4])
    return written(data, at, struct.pack("<H", odd(chance) % 65536))


def written(data: bytes, at: int, value: bytes) -> bytes:
    """The same bytes but for some at one place."""
    return data[:at] + value + data[at + len(value) :]


def _packed(form: str, chance: Generator) -> bytes:
    return struct.pack(form, odd(chance) % 256 ** struct.calcsize(form))


def odd(chance: Generator) -> int:
    """A number at an edge of what a field may hold, in 32 bits."""
    return _ODD[int(chance.integers(len(_ODD)))]


def _one(places: Sequence[int], chance: Generator) -> int:
    return places[int(chance.integers(len(places)))] if places else 0


def damaged(
    files: Sequence[bytes], chance: Generator, kinds: Mapping[str, Damage] = KINDS
) -> Iterator[tuple[str, bytes]]:
    """For each file, in another order, one kind of damage and what it leaves."""
    names = tuple(kinds)
    for number in chance.permutation(len(files)):
        kind = names[int(chance.integers(len(names)))]
        other = files[int(chance.integers(len(files)))]
        yield kind, kinds[kind](files[number], other, chance)
