"""Checkpoints: the bytes of `pack`, torn rounds skipped, and nothing older than needed."""

import hashlib
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from server.checkpoint import Checkpoint, Checkpoints, Participation
from server.moments import Moments
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


def save(checkpoints: Checkpoints, number: int, kinds: tuple[str, ...] = ()) -> Checkpoint:
    table = table_of(state(number))
    with checkpoints.moments(number, kinds=kinds, tensors=table) as moments:
        return checkpoints.save(
            table,
            cut(state(number)),
            number=number,
            epoch=1,
            previous_digest=PREVIOUS,
            participation=Participation(counted=("north", "south"), absent={"west": "line lost"}),
            norms=NormHistory().after((1.0, 2.0)),
            moments=moments,
        )


def no_moments(folder: Path) -> Moments:
    return Moments(folder / "none", kinds=(), tensors=(), number=1)


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
    assert saved.moments_digest is None
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
    first = save(checkpoints, 1, ("momentum",))
    second = save(checkpoints, 2, ("momentum",))
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
    checkpoints, table = Checkpoints(tmp_path), table_of(state(1))

    def stepping(moments: Moments) -> Iterator[Piece]:
        for piece in cut(state(1)):
            if piece.values.dtype == np.float32:
                last = moments.read("momentum", piece.name, piece.start, piece.values.size)
                moments.write("momentum", piece.name, piece.start, last + 1)
            yield piece

    for number in (1, 2):
        with checkpoints.moments(number, kinds=("momentum",), tensors=table) as moments:
            saved = checkpoints.save(
                table,
                stepping(moments),
                number=number,
                epoch=1,
                previous_digest=PREVIOUS,
                participation=Participation(counted=("north",)),
                norms=NormHistory(),
                moments=moments,
            )
    assert checkpoints.latest_sound() == saved
    file = tmp_path / "round-00002.moments"
    assert saved.moments_digest == hashlib.sha256(file.read_bytes()).hexdigest()
    assert {name: set(values.reshape(-1).tolist()) for name, values in PackedFile(file).items()} == {
        "momentum/b": {2.0},
        "momentum/w": {2.0},
    }


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
            moments=no_moments(tmp_path),
        )
    assert names(tmp_path) == ["round-00001.json", "round-00001.safetensors"]
    assert checkpoints.latest_sound() == first


def test_only_the_start_and_the_last_two_rounds_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    (tmp_path / "start.safetensors").write_bytes(pack(state(0)))
    (tmp_path / ".round-00009.safetensors.x.part").touch()
    for number in range(1, 5):
        save(checkpoints, number, ("momentum",))
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
        moments=no_moments(tmp_path),
    )
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * 4 * update.PIECE_ELEMENTS
    assert Checkpoints(tmp_path).model(1).read_bytes() == pack(big)
