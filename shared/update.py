"""What a site returns, as tensors: the table that both sides agree on, and the packed buffer.

A model and an update are one safetensors buffer each: a bounded JSON header and one flat run of
little-endian data (https://huggingface.co/docs/safetensors). An update holds, for each
floating-point tensor of the state, the change (local minus incoming), and for each integer tensor
the local value. Nothing here ever unpickles.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from shared.errors import TrustError
from shared.study import Section

Array = np.ndarray[Any, np.dtype[Any]]
Dtype = Literal["float32", "int64"]
HEADER_LIMIT_BYTES = 4 << 20
_SAFETENSORS_NAMES = {"F32": "float32", "I64": "int64"}
_ITEM_BYTES = {"float32": 4, "int64": 8}


class TensorSpec(Section):
    """Name, dtype and shape of one tensor of a model's state."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    dtype: Dtype
    shape: Annotated[tuple[Annotated[int, Field(ge=0, le=2**31)], ...], Field(max_length=8)]

    @property
    def nbytes(self) -> int:
        """Size of the tensor's data in bytes."""
        size = _ITEM_BYTES[self.dtype]
        for side in self.shape:
            size *= side
        return size


Tensors = tuple[TensorSpec, ...]


def table_of(state: Mapping[str, Array]) -> Tensors:
    """The tensor table of a state, sorted by name."""
    return tuple(TensorSpec(name=k, dtype=str(v.dtype), shape=v.shape) for k, v in sorted(state.items()))  # type: ignore[arg-type]


def payload_limit(tensors: Tensors) -> int:
    """Most bytes a packed buffer of this table may have: data, plus a header of at most 4 MiB."""
    return sum(t.nbytes for t in tensors) + min(HEADER_LIMIT_BYTES, 512 + 512 * len(tensors))


def pack(state: Mapping[str, Array]) -> bytes:
    """One safetensors buffer; the same state always gives the same bytes."""
    return bytes(save({k: np.ascontiguousarray(v) for k, v in sorted(state.items())}))


class PackedFile:
    """A packed buffer on disk, read tensor by tensor from a memory map.

    The header is bounded and checked before anything else is read.

    Raises:
        TrustError: not a safetensors file, or its header is larger than 4 MiB.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header = _read_header(path)
        try:
            self._open = safe_open(path, framework="numpy")
        except (SafetensorError, OSError):
            raise _not_packed() from None

    def table(self) -> Tensors:
        """Names, dtypes and shapes that the file declares.

        Raises:
            TrustError: a tensor has a dtype that no model of ours has.
        """
        return tuple(TensorSpec(name=k, dtype=d, shape=s) for k, d, s in sorted(self._header))  # type: ignore[arg-type]

    def declared(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> (dtype, shape) as declared, dtypes not restricted; for admission's account."""
        return {name: (dtype, shape) for name, dtype, shape in self._header}

    def tensor(self, name: str) -> Array:
        """One tensor, copied from the map."""
        return self._open.get_tensor(name)  # type: ignore[no-any-return,no-untyped-call]

    def items(self) -> Iterator[tuple[str, Array]]:
        """All tensors in the order of their names, one in memory at a time."""
        for name, _, _ in sorted(self._header):
            yield name, self.tensor(name)


def _not_packed() -> TrustError:
    return TrustError("A tensor file is not a sound safetensors buffer.", remedy="Send the original file again.")


def _read_header(path: Path) -> list[tuple[str, str, tuple[int, ...]]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > HEADER_LIMIT_BYTES:
                raise _not_packed()
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        return [
            (str(name), _SAFETENSORS_NAMES.get(item["dtype"], str(item["dtype"])), tuple(int(n) for n in item["shape"]))
            for name, item in header.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
        raise _not_packed() from None
