"""Kept updates: those that counted, and of an attempt that was not committed nothing."""

from pathlib import Path

import numpy as np
import pytest

from server.claim import Admitted
from server.keeping import UPDATES, keep_updates
from server.spool import UpdateSpool
from shared.canonical import digest
from shared.errors import ResourceError
from shared.update import PackedFile, pack


def admitted(folder: Path, site: str, value: float) -> Admitted:
    data = pack({"w": np.array([value], np.float32)})
    with UpdateSpool(folder / "spool").writer(1, site, size=len(data)) as writer:
        writer.write(data)
        path = writer.commit(digest(data))
    return Admitted(
        site=site, examples=1, steps=1, norm=1.0, update_digest=path.name.split(".")[1], packed=PackedFile(path)
    )


def names(folder: Path) -> set[str]:
    return {path.name.split(".")[0] for path in (folder / UPDATES / "round-00001").iterdir()}


def test_what_counted_stays_when_the_spool_forgets_it(tmp_path: Path) -> None:
    one, two = admitted(tmp_path, "north", 1.0), admitted(tmp_path, "south", 2.0)
    keep_updates(tmp_path, 1, [one, two])
    UpdateSpool(tmp_path / "spool").forget_before(2)
    assert not one.packed.path.exists()
    (kept,) = (tmp_path / UPDATES / "round-00001").glob("north.*")
    assert digest(kept.read_bytes()) == one.update_digest


def test_a_round_that_is_committed_after_all_has_no_update_of_its_first_attempt(tmp_path: Path) -> None:
    one, two = admitted(tmp_path, "north", 1.0), admitted(tmp_path, "south", 2.0)
    keep_updates(tmp_path, 1, [one, two])
    keep_updates(tmp_path, 1, [two])
    assert names(tmp_path) == {"south"}


def test_a_disk_that_refuses_is_said(tmp_path: Path) -> None:
    (tmp_path / UPDATES).write_bytes(b"")
    with pytest.raises(ResourceError):
        keep_updates(tmp_path, 1, [])
