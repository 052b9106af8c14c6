"""What a site returns, as tensors: the table that both sides agree on, and the packed buffer.

A model and an update are one safetensors buffer each: a bounded JSON header and one flat run of
little-endian data (https://huggingface.co/docs/safetensors). An update holds, for each
floating-point tensor of the state, the change (local minus incoming), and for each integer tensor
the local value. Control variates (SCAFFOLD) are tensors beside the model's own, under `control/`.
Nothing here ever unpickles.

bfloat16 is a form of travel: 16 bits, the high half of a float32. Whoever reads a run of it gets float32, which
holds every such number exactly; whoever packs it gives float32 that has been rounded to such numbers already.

Large states pass as a stream of pieces in the order of the buffer, so that memory depends neither on
the size of a model nor on the number of sites. What a tensor means, and whether an update may be
counted, is left to the client's contract and the server's admission.
"""

import json
import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open

from shared.errors import TrustError
from shared.section import Section

Array = np.ndarray[Any, np.dtype[Any]]
Dtype = Literal["float32", "bfloat16", "int64"]
FloatDtype = Literal["float32", "bfloat16"]
HEADER_LIMIT_BYTES = 4 << 20
CONTROL = "control/"  # then the name of the parameter that the control variate belongs to
PIECE_ELEMENTS = 1 << 18  # 1 MiB of float32: the temporaries of 64-bit arithmetic stay in a cache
STATISTICS = ("running_mean", "running_var")  # last part of the name: buffers of a normalisation layer
_HEADER_NAMES = {"float32": "F32", "bfloat16": "BF16", "int64": "I64"}
_SAFETENSORS_NAMES = {header: name for name, header in _HEADER_NAMES.items()}
# In the file, little-endian; NumPy knows no bfloat16, so that its bits stand for it.
_LITTLE_ENDIAN: dict[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
}


class TensorSpec(Section):
    """Name, dtype and shape of one tensor of a model's state."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    dtype: Dtype
    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=2**31)], ...], Field(max_length=8)]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Size of the tensor's data in bytes."""
        return self.size * _LITTLE_ENDIAN[self.dtype].itemsize


Tensors = tuple[TensorSpec, ...]


def update_table(tensors: Tensors, dtype: FloatDtype) -> Tensors:
    """The table of an update of a model of these tensors, whose changes travel in this dtype.

    Statistics of normalisation layers stay float32: a variance that falls from 1 to 0.001 would be rounded below zero.
    """
    return tuple(with_dtype(t, dtype) if _learned(t) else t for t in tensors)


def model_table(tensors: Tensors, dtype: FloatDtype) -> Tensors:
    """The table of a model of these tensors that travels in this dtype; control variates stay float32, too."""
    return tuple(with_dtype(t, dtype) if _learned(t) and not t.name.startswith(CONTROL) else t for t in tensors)


def _learned(tensor: TensorSpec) -> bool:
    return tensor.dtype != "int64" and tensor.name.rpartition(".")[2] not in STATISTICS


def rounded_to(state: Mapping[str, Array], tensors: Tensors) -> dict[str, Array]:
    """A state whose values a table holds."""
    narrow = {t.name for t in tensors if t.dtype == "bfloat16"}
    return {name: rounded(value) if name in narrow else value for name, value in state.items()}


def with_dtype(tensor: TensorSpec, dtype: Dtype) -> TensorSpec:
    """The same tensor in another dtype."""
    return TensorSpec(name=tensor.name, dtype=dtype, shape=tensor.shape)


class Piece(NamedTuple):
    """A run of one tensor's elements in C order: `values` (n,) are the elements from `start`."""

    name: str
    start: int
    values: Array


def table_of(state: Mapping[str, Array]) -> Tensors:
    """The tensor table of a state, sorted by name."""
    return tuple(TensorSpec(name=k, dtype=str(v.dtype), shape=v.shape) for k, v in sorted(state.items()))  # type: ignore[arg-type]


def payload_limit(tensors: Tensors) -> int:
    """Most bytes a packed buffer of this table may have: data, plus a header of at most 4 MiB."""
    return sum(t.nbytes for t in tensors) + min(HEADER_LIMIT_BYTES, 512 + 512 * len(tensors))


def packed_order(tensors: Tensors) -> Tensors:
    """The order of the data in a packed buffer: 8-byte dtypes first, then by name, as safetensors writes it."""
    return tuple(sorted(tensors, key=lambda t: (-_LITTLE_ENDIAN[t.dtype].itemsize, t.name)))


def spans(tensor: TensorSpec) -> Iterator[tuple[int, int]]:
    """Cut one tensor into runs [start, stop) of at most `PIECE_ELEMENTS`; an empty tensor has none."""
    for start in range(0, tensor.size, PIECE_ELEMENTS):
        yield start, min(start + PIECE_ELEMENTS, tensor.size)


def cut(state: Mapping[str, Array], tensors: Tensors | None = None) -> Iterator[Piece]:
    """The pieces of a state in the packed order of a table, by default its own, as views."""
    for tensor in packed_order(tensors or table_of(state)):
        flat = state[tensor.name].reshape(-1)
        for start, stop in spans(tensor):
            yield Piece(tensor.name, start, flat[start:stop])


def join(tensors: Tensors, pieces: Iterable[Piece]) -> dict[str, Array]:
    """The state that a stream of pieces spells, each tensor in the shape of its table, and in its dtype or float32."""
    state: dict[str, Array] = {t.name: np.zeros(t.shape, _in_memory(t.dtype)) for t in tensors}
    for name, start, values in pieces:
        state[name].reshape(-1)[start : start + values.size] = values
    return state


def pack(state: Mapping[str, Array], tensors: Tensors | None = None) -> bytes:
    """One safetensors buffer of a table, by default the state's own; the same state always gives the same bytes.

    Raises:
        ValueError: the state does not fit the table.
    """
    table = table_of(state) if tensors is None else tensors
    return b"".join(pack_pieces(table, cut(state, table)))


def pack_pieces(tensors: Tensors, pieces: Iterable[Piece]) -> Iterator[bytes | memoryview]:
    """The same buffer as `pack`, chunk by chunk, from pieces in packed order.

    Raises:
        ValueError: the pieces are not the table's, in packed order and in its dtypes; for bfloat16 they are
            float32 that bfloat16 holds.
    """
    yield _header(tensors)
    expected = [(t.name, span, t.dtype) for t in packed_order(tensors) for span in spans(t)]
    for (name, (start, stop), dtype), piece in zip(expected, pieces, strict=True):
        if (piece.name, piece.start, piece.values.shape) != (name, start, (stop - start,)):
            raise ValueError(f"the pieces of {name} do not come in packed order")
        held = _in_memory(dtype)
        if piece.values.dtype != held:
            raise ValueError(f"a piece of {name} is {piece.values.dtype}, expected {held}")
        values = np.ascontiguousarray(piece.values, held)
        yield (narrowed(values, name) if dtype == "bfloat16" else values).data.cast("B")


def rounded(values: Array) -> Array:
    """float32 as the nearest float32 that bfloat16 holds, ties to even, of any shape; what is not finite stays so."""
    given = np.ascontiguousarray(values, "<f4").reshape(-1)
    found = np.empty_like(given)
    for start in range(0, given.size, PIECE_ELEMENTS):
        bits, out = (array[start : start + PIECE_ELEMENTS].view("<u4") for array in (given, found))
        np.right_shift(bits, 16, out=out)
        out &= 1
        out += 0x7FFF
        out += bits
        out &= 0xFFFF0000
    nan = np.isnan(given)  # whose bits may have been carried into the sign
    found[nan] = np.float32(np.nan)
    return found.reshape(values.shape)


def _in_memory(dtype: str) -> np.dtype[Any]:
    return _LITTLE_ENDIAN["float32" if dtype == "bfloat16" else dtype]


def narrowed(values: Array, name: str) -> Array:
    """The bits of bfloat16, uint16 (n,), of little-endian float32 that it holds.

    Raises:
        ValueError: the values have not been rounded.
    """
    halves = values.view("<u2").reshape(-1, 2)
    if halves[:, 0].any():
        raise ValueError(f"a piece of {name} has not been rounded to bfloat16")
    return np.ascontiguousarray(halves[:, 1])


def _widened(bits: Array) -> Array:
    halves = np.zeros((bits.size, 2), "<u2")
    halves[:, 1] = bits
    return halves.reshape(-1).view("<f4")


def _header(tensors: Tensors) -> bytes:
    header, offset = {}, 0
    for t in packed_order(tensors):
        stop = offset + t.nbytes
        header[t.name] = {"dtype": _HEADER_NAMES[t.dtype], "shape": t.shape, "data_offsets": (offset, stop)}
        offset = stop
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the data to 8 bytes
    return struct.pack("<Q", len(text)) + text


class PackedFile:
    """A packed buffer on disk, read tensor by tensor or run by run; it keeps no file open
    but while it is walked through.

    The header is bounded and checked (safetensors' own rules, and no name twice) before anything
    else is read.

    Attributes:
        path: the file.
        annotated: the header carries free text (`__metadata__`), which no model or update needs.

    Raises:
        TrustError: not a safetensors file, or its header is larger than 4 MiB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._places, self.annotated = _read_header(path)

    def declared(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> (dtype, shape) as declared, dtypes not restricted; for admission's account."""
        return {name: (place.dtype, place.shape) for name, place in self._places.items()}

    def table(self) -> Tensors:
        """Names, dtypes and shapes that the file declares, sorted by name.

        Raises:
            TrustError: a tensor has a dtype, name or shape that no model of ours has.
        """
        return self._table

    @cached_property
    def _table(self) -> Tensors:
        try:
            return tuple(TensorSpec(name=k, dtype=d, shape=s) for k, (d, s) in sorted(self.declared().items()))  # type: ignore[arg-type]
        except ValidationError:
            raise _not_packed() from None

    def offset(self, name: str, start: int) -> int:
        """Where element `start` of a tensor lies: bytes from the beginning of the file."""
        place = self._places[name]
        return place.offset + start * _LITTLE_ENDIAN[place.dtype].itemsize

    def run(self, name: str, start: int, stop: int) -> Array:
        """The elements [start, stop) of one tensor in C order, shape (stop - start,), bfloat16 as float32.

        Raises:
            KeyError: the file holds no such tensor.
            TrustError: its dtype is none of ours, or the file ends before `stop`.
        """
        with self.path.open("rb", buffering=0) as file:  # one run is read at once
            return self._read(file, name, start, stop)

    def tensor(self, name: str) -> Array:
        """One whole tensor, copied from the file; raises as `run`."""
        with self.path.open("rb") as file:
            return self._whole(file, name)

    def items(self) -> Iterator[tuple[str, Array]]:
        """All tensors in the order of their names, one in memory at a time."""
        with self.path.open("rb") as file:
            for name in sorted(self._places):
                yield name, self._whole(file, name)

    def pieces(self) -> Iterator[Piece]:
        """The whole file as pieces in packed order; raises as `table` and `run`."""
        tensors = packed_order(self.table())
        with self.path.open("rb") as file:
            for tensor in tensors:
                for start, stop in spans(tensor):
                    yield Piece(tensor.name, start, self._read(file, tensor.name, start, stop))

    def _whole(self, file: BufferedReader, name: str) -> Array:
        shape = self._places[name].shape
        return self._read(file, name, 0, math.prod(shape)).reshape(shape)

    def _read(self, file: BufferedReader | FileIO, name: str, start: int, stop: int) -> Array:
        place = self._places[name]
        dtype = _LITTLE_ENDIAN.get(place.dtype)
        if dtype is None:
            raise _not_packed()
        values = np.empty(stop - start, dtype)
        file.seek(place.offset + start * dtype.itemsize)
        if file.readinto(values.view(np.uint8).data) != values.nbytes:
            raise _not_packed()
        return _widened(values) if place.dtype == "bfloat16" else values


class _Place(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    offset: int  # bytes from the start of the file


def _not_packed() -> TrustError:
    return TrustError("A tensor file is not a sound safetensors buffer.", remedy="Send the original file again.")


def _read_header(path: Path) -> tuple[dict[str, _Place], bool]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > HEADER_LIMIT_BYTES:
                raise _not_packed()
            header = json.loads(file.read(length), object_pairs_hook=_without_repeats)
        with safe_open(path, framework="numpy"):  # its checks: offsets cover the data once, sizes fit shapes
            pass
        annotated = header.pop("__metadata__", None) is not None
        return {name: _place(item, 8 + length) for name, item in header.items()}, annotated
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        raise _not_packed() from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):  # two readers could each believe another one of them
        raise _not_packed()
    return dict(pairs)


def _place(item: dict[str, Any], data_start: int) -> _Place:
    dtype = str(item["dtype"])
    return _Place(
        _SAFETENSORS_NAMES.get(dtype, dtype), tuple(map(int, item["shape"])), data_start + item["data_offsets"][0]
    )
