"""A federation's backup: two people open it, and what they open is the folder as it was, or nothing is written."""

import fcntl
import io
import os
from pathlib import Path

import pytest
from file_contents import files

from deploy.provision import provision
from server.federation import load_federation
from server.membership.backup import back_up, restore
from shared.errors import ConfigError, ResourceError, TrustError
from shared.sealed import CHUNK_BYTES, Opening, Sealing

BOTH = ("the first person's own", "the second person's own")
KEY = bytes(32)


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation with a site on the roster, a log, and something half written."""
    root = tmp_path_factory.mktemp("backed-up")
    folder = provision(root, name="north", host="127.0.0.1", fleet_port=9092, sites=["ward-a"], now=1_800_000_000)
    (folder.federation / "studies" / "lungs").mkdir()
    (folder.federation / "studies" / "lungs" / "journal.jsonl").write_text("one line\n")
    (folder.federation / "studies" / "lungs" / ".model.part").write_text("half")
    (folder.federation / "logs").mkdir(exist_ok=True)
    (folder.federation / "logs" / "server.jsonl").write_text("{}\n")
    return folder.federation


@pytest.fixture(scope="module")
def file(federation: Path) -> Path:
    path = federation.parent / "north.backup"
    back_up(federation, path, passphrases=BOTH)
    return path


def test_what_is_restored_is_what_was_there(federation: Path, file: Path, tmp_path: Path) -> None:
    kept = {
        name: said
        for name, said in files(federation).items()
        if not name.startswith(("run/", "logs/")) and ".part" not in name
    }
    assert restore(file, tmp_path / "again", passphrases=BOTH[::-1]) == len(kept)
    assert files(tmp_path / "again") == kept and "coordinator.key" in kept
    assert load_federation(tmp_path / "again").roster.sites() == ("ward-a",)
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "again").rglob("*") if path.is_dir())
    assert file.stat().st_mode & 0o777 == 0o600 and b"BEGIN" not in file.read_bytes()


def refused(file: Path, folder: Path, *, passphrases: tuple[str, str] = BOTH) -> str:
    before = sorted(folder.parent.iterdir())
    with pytest.raises(TrustError) as caught:
        restore(file, folder, passphrases=passphrases)
    assert sorted(folder.parent.iterdir()) == before
    return caught.value.what


def test_one_person_alone_opens_nothing(file: Path, tmp_path: Path) -> None:
    said = refused(file, tmp_path / "again", passphrases=(BOTH[0], "what the first one guesses"))
    assert "two passphrases are not those of this backup" in said
    with pytest.raises(ConfigError, match="the same"):
        restore(file, tmp_path / "again", passphrases=(BOTH[0], BOTH[0]))


def test_another_file_a_cut_one_and_a_changed_one_are_refused(file: Path, tmp_path: Path) -> None:
    whole, bad = file.read_bytes(), tmp_path / "bad.backup"
    for data, said in ((b"PK" + whole, "no backup"), (whole[:-1], "damaged"), (whole[:-1] + b"\0", "damaged")):
        bad.write_bytes(data)
        assert said in refused(bad, tmp_path / "again")


def test_a_backup_is_of_a_federation_that_nobody_serves_and_replaces_nothing(federation: Path, tmp_path: Path) -> None:
    with (federation / "run" / "serve.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResourceError, match="is served"):
            back_up(federation, tmp_path / "new.backup", passphrases=BOTH)
    (tmp_path / "old.backup").write_text("old")
    for place in (tmp_path / "old.backup", federation / "in.backup"):
        with pytest.raises(ConfigError):
            back_up(federation, place, passphrases=BOTH)
    with pytest.raises(ResourceError):
        back_up(federation, tmp_path / "no" / "such.backup", passphrases=BOTH)
    assert [path.name for path in tmp_path.iterdir()] == ["old.backup"]


def test_a_folder_that_holds_something_is_not_written_over(federation: Path, file: Path) -> None:
    before = files(federation)
    with pytest.raises(ConfigError, match="not empty"):
        restore(file, federation, passphrases=BOTH)
    assert files(federation) == before


# ------------------------------------------------------------------ chunks


@pytest.fixture
def chunks() -> list[bytes]:
    """Three chunks as they are sealed."""
    out = io.BytesIO()
    sealing = Sealing(out, KEY)
    sealing.write(os.urandom(2 * CHUNK_BYTES + 5))
    sealing.finish()
    size, data = CHUNK_BYTES + 16, out.getvalue()
    return [data[:size], data[size : 2 * size], data[2 * size :]]


def opened(chunks: list[bytes]) -> int:
    opening, count = Opening(io.BytesIO(b"".join(chunks)), KEY), 0
    while data := opening.read(100_000):
        count += len(data)
    return count


def test_chunks_are_neither_moved_left_out_nor_cut_off(chunks: list[bytes]) -> None:
    one, two, three = chunks
    assert opened(chunks) == 2 * CHUNK_BYTES + 5
    for wrong in ([two, one, three], [one, three], [one, two], [one], [], [one, two, three, three], [one, two, b""]):
        with pytest.raises(TrustError):
            opened(wrong)


def test_a_whole_number_of_chunks_ends_with_a_full_one() -> None:
    out = io.BytesIO()
    sealing = Sealing(out, KEY)
    sealing.write(bytes(2 * CHUNK_BYTES))
    sealing.finish()
    assert opened([out.getvalue()]) == 2 * CHUNK_BYTES
