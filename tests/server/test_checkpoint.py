"""Checkpoints: the bytes of `pack`, torn rounds skipped, and nothing older than needed."""

import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.checkpoint import Checkpoint, Checkpoints, Participation
from server.norms import NormHistory
from shared import update
from shared.update import Array, PackedFile, Piece, cut, pack, spans, table_of

PREVIOUS = "0" * 64


def state(number: int) -> dict[str, Array]:
    random = np.random.default_rng(number)
    return {
        "w": random.normal(size=(30, 7)).astype(np.float32),
        "n": np.array(number, np.int64),
        "b": random.normal(size=9).astype(np.float32),
    }


def save(checkpoints: Checkpoints, number: int, moments: dict[str, Array] | None = None) -> Checkpoint:
    return checkpoints.save(
        table_of(state(number)),
        cut(state(number)),
        number=number,
        epoch=1,
        previous_digest=PREVIOUS,
        participation=Participation(counted=("north", "south"), absent={"west": "line lost"}),
        norms=NormHistory().after((1.0, 2.0)),
        moments=moments or {},
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_round_is_the_bytes_of_pack_and_its_record(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "models")
    saved = save(checkpoints, 4)
    data = checkpoints.model(4).read_bytes()
    assert data == pack(state(4))
    assert saved.model_digest == hashlib.sha256(data).hexdigest()
    assert saved.committed.counted == ("north", "south")
    assert saved.committed.absent == {"west": "line lost"}
    assert Checkpoints(tmp_path / "models").latest_sound() == saved
    assert checkpoints.find(4) == saved
    assert checkpoints.moments(saved) == {}
    assert names(tmp_path / "models") == ["round-00004.json", "round-00004.safetensors"]


def test_an_empty_folder_has_no_round(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "models").latest_sound() is None
    assert Checkpoints(tmp_path / "models").find(1) is None


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "tear",
    [
        lambda folder: os.truncate(folder / "round-00002.safetensors", 100),
        lambda folder: flip(folder / "round-00002.safetensors"),
        lambda folder: flip(folder / "round-00002.moments"),
        lambda folder: (folder / "round-00002.moments").unlink(),
        lambda folder: (folder / "round-00002.safetensors").unlink(),
        lambda folder: (folder / "round-00002.json").unlink(),
        lambda folder: os.truncate(folder / "round-00002.json", 50),
        lambda folder: (folder / "round-00002.json").write_bytes((folder / "round-00001.json").read_bytes()),
    ],
)
def test_a_torn_round_is_skipped(tmp_path: Path, tear: object) -> None:
    checkpoints = Checkpoints(tmp_path)
    moments = {"w": np.ones(3, np.float32)}
    first = save(checkpoints, 1, moments)
    second = save(checkpoints, 2, moments)
    assert checkpoints.latest_sound() == second
    tear(tmp_path)
    assert checkpoints.latest_sound() == first


def test_a_round_begun_again_but_not_finished_is_torn(tmp_path: Path) -> None:
    """The model of a second attempt is in place, its record is not: the old record must not vouch for it."""
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    checkpoints.model(1).write_bytes(pack(state(99)))
    assert checkpoints.latest_sound() is None


def test_moments_come_back_as_they_were_after_the_last_piece(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    moments: dict[str, Array] = {}

    def stepping() -> Iterator[Piece]:
        for piece in cut(state(1)):
            moments[piece.name] = np.full(2, len(moments), np.float32)
            yield piece

    saved = checkpoints.save(
        table_of(state(1)),
        stepping(),
        number=1,
        epoch=1,
        previous_digest=PREVIOUS,
        participation=Participation(counted=("north",)),
        norms=NormHistory(),
        moments=moments,
    )
    found = checkpoints.latest_sound()
    assert found == saved
    assert {k: v.tolist() for k, v in checkpoints.moments(saved).items()} == {k: v.tolist() for k, v in moments.items()}


def test_a_step_that_fails_leaves_the_round_as_it_was(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    first = save(checkpoints, 1)
    with pytest.raises(ValueError):
        checkpoints.save(
            table_of(state(2)),
            [],
            number=2,
            epoch=1,
            previous_digest=PREVIOUS,
            participation=Participation(counted=()),
            norms=NormHistory(),
            moments={},
        )
    assert names(tmp_path) == ["round-00001.json", "round-00001.safetensors"]
    assert checkpoints.latest_sound() == first


def test_only_the_start_and_the_last_two_rounds_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "start.safetensors").write_bytes(pack(state(0)))
    (tmp_path / ".round-00009.safetensors.x.part").touch()
    for number in range(1, 5):
        save(checkpoints, number, {"w": np.ones(1, np.float32)})
    checkpoints.prune(4)
    kept = [f"round-0000{n}.{suffix}" for n in (3, 4) for suffix in ("json", "moments", "safetensors")]
    assert names(tmp_path) == [*kept, "start.safetensors"]


def test_a_model_is_written_without_standing_in_memory(tmp_path: Path) -> None:
    big = {"w": np.zeros(12 * update.PIECE_ELEMENTS, np.float32)}
    (tmp_path / "start.safetensors").write_bytes(pack(big))
    start = PackedFile(tmp_path / "start.safetensors")
    assert len(list(spans(start.table()[0]))) == 12
    tracemalloc.start()
    Checkpoints(tmp_path).save(
        start.table(),
        start.pieces(),
        number=1,
        epoch=1,
        previous_digest=PREVIOUS,
        participation=Participation(counted=("north",)),
        norms=NormHistory(),
        moments={},
    )
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 4 * update.PIECE_ELEMENTS
    assert Checkpoints(tmp_path).model(1).read_bytes() == pack(big)
