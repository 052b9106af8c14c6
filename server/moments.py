"""What a server optimizer remembers, on disk: the last round's moments, on their way to this round's.

A moment is a tensor of one kind (`momentum`, `variance`, `residual`) for each floating-point tensor of the model,
so moments may be larger than the model and never stand whole in memory. A round's file begins as a
copy of the last round's, zeros before the first, and is changed run by run while the new model is
drawn. What a kind means is the optimizer's matter; which round's file is sound, the checkpoint's.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np

from server.growing import PARTIAL, disk_refused
from shared.durable import rename_durably, wait_for_disk
from shared.update import Array, PackedFile, Piece, Tensors, TensorSpec, narrowed, pack_pieces, packed_order, spans

RESIDUAL = "residual"  # what rounding took from the model (`server/rounding.py`), in bfloat16


class Moments:
    """The moments of one round in the making; leave its ``with`` block unfinished and nothing stays.

    Args:
        target: the file's name once it is whole; the folder must exist.
        kinds: what is remembered; none makes no file.
        tensors: the model's table.
        number: the round that is being made, from 1.
        last: the file of the round before; None where there is none.

    Raises:
        ResourceError: the disk refused (also from `write` and `finish`).
    """

    def __init__(
        self, target: Path, *, kinds: Iterable[str], tensors: Tensors, number: int, last: Path | None = None
    ) -> None:
        self.number = number
        self._target = target
        self._temporary: Path | None = None
        table = moment_table(kinds, tensors)
        if table:
            try:
                self._temporary = _begin(target, table, last)
                self._file = self._temporary.open("r+b")
            except OSError as error:
                raise disk_refused(error) from None
            self._packed = PackedFile(self._temporary)

    def read(self, kind: str, name: str, start: int, size: int) -> Array:
        """Elements of one moment from `start`, float64 (size,); zeros before the first round."""
        return self._packed.run(_name(kind, name), start, start + size).astype(np.float64)

    def write(self, kind: str, name: str, start: int, values: Array) -> None:
        """Replace elements of one moment from `start`; (n,), rounded to float32, a residual's to bfloat16 already."""
        moment, stored = _name(kind, name), values.astype("<f4")
        try:
            self._file.seek(self._packed.offset(moment, start))
            self._file.write((narrowed(stored, moment) if kind == RESIDUAL else stored).data)
        except OSError as error:
            raise disk_refused(error) from None

    def finish(self) -> str | None:
        """Give the file its name, durably; its SHA-256 (hex), None if nothing is remembered."""
        if self._temporary is None:
            return None
        try:
            self._file.flush()
            wait_for_disk(self._file.fileno())
            self._file.seek(0)
            digest = hashlib.file_digest(self._file, "sha256").hexdigest()
            rename_durably(self._temporary, self._target)
        except OSError as error:
            raise disk_refused(error) from None
        return digest

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._temporary is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def moment_table(kinds: Iterable[str], tensors: Tensors) -> Tensors:
    """The tensors of a moments file: one of each kind for each floating-point tensor of the model, or bfloat16 one."""
    return tuple(
        TensorSpec(name=_name(kind, t.name), dtype="bfloat16" if kind == RESIDUAL else "float32", shape=t.shape)
        for kind in kinds
        for t in tensors
        if (t.dtype == "bfloat16" if kind == RESIDUAL else t.dtype != "int64")
    )


def _name(kind: str, tensor: str) -> str:
    return f"{kind}/{tensor}"


def _begin(target: Path, table: Tensors, last: Path | None) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=PARTIAL, dir=target.parent)
    with os.fdopen(descriptor, "wb") as file:
        if last is None:
            zeros = (Piece(t.name, a, np.zeros(b - a, np.float32)) for t in packed_order(table) for a, b in spans(t))
            file.writelines(pack_pieces(table, zeros))
        else:
            with last.open("rb") as source:
                shutil.copyfileobj(source, file)
    return Path(name)
