"""The spool: whole under its name or absent, bounded, and found again."""

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.spool import UpdateSpool
from shared.errors import TrustError

DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def put(spool: UpdateSpool, number: int, site: str, data: bytes) -> Path:
    with spool.writer(number, site, size=len(data)) as writer:
        writer.write(data)
        return writer.commit(hashlib.sha256(data).hexdigest())


def test_chunks_become_a_file_that_is_found_again(tmp_path: Path) -> None:
    spool = UpdateSpool(tmp_path / "spool")
    with spool.writer(3, "north", size=len(DATA)) as writer:
        for start in range(0, len(DATA), 999):
            writer.write(memoryview(DATA)[start : start + 999])
        assert writer.received == len(DATA)
        assert spool.find(3, "north", DIGEST) is None
        assert spool.held(3) == set()
        path = writer.commit(DIGEST)
    assert path.read_bytes() == DATA
    again = UpdateSpool(tmp_path / "spool")
    assert again.find(3, "north", DIGEST) == path
    assert again.held(3) == {"north"}
    assert again.find(3, "south", DIGEST) is again.find(4, "north", DIGEST) is again.find(3, "north", "0" * 64) is None


def test_what_an_earlier_process_left_is_read_before_its_name_is_believed(tmp_path: Path) -> None:
    spool = UpdateSpool(tmp_path)
    path = put(spool, 1, "north", DATA)
    assert spool.digest_of(path) == DIGEST
    path.write_bytes(DATA[:-1])  # as a power cut leaves it
    assert UpdateSpool(tmp_path).digest_of(path) == hashlib.sha256(DATA[:-1]).hexdigest()
    spool.forget_before(2)
    with pytest.raises(FileNotFoundError):
        spool.digest_of(path)


def test_other_bytes_than_signed_are_not_kept(tmp_path: Path) -> None:
    with UpdateSpool(tmp_path / "spool").writer(1, "north", size=10**6) as writer:
        writer.write(DATA[:-1])
        with pytest.raises(TrustError, match="signed"):
            writer.commit(DIGEST)
    assert files(tmp_path) == []


def test_more_bytes_than_expected_are_not_kept(tmp_path: Path) -> None:
    with UpdateSpool(tmp_path / "spool").writer(1, "north", size=100) as writer:
        writer.write(DATA[:100])
        with pytest.raises(TrustError, match="larger than the 100 bytes"):
            writer.write(b"x")
    assert files(tmp_path) == []


def test_an_aborted_update_leaves_nothing(tmp_path: Path) -> None:
    writer = UpdateSpool(tmp_path / "spool").writer(1, "north", size=100)
    writer.write(b"x")
    writer.abort()
    writer.abort()
    assert files(tmp_path) == []


def test_a_site_has_one_update_per_round(tmp_path: Path) -> None:
    spool = UpdateSpool(tmp_path)
    put(spool, 1, "north", b"old")
    put(spool, 1, "north-2", b"other")
    kept = put(spool, 1, "north", b"new")
    assert spool.held(1) == {"north", "north-2"}
    assert len(files(tmp_path)) == 2
    assert kept.read_bytes() == b"new"


def test_earlier_rounds_are_forgotten(tmp_path: Path) -> None:
    spool = UpdateSpool(tmp_path)
    for number in (1, 2, 3):
        put(spool, number, "north", b"x")
    (tmp_path / "round-00003" / ".south.x1.part").touch()  # its process died
    spool.forget_before(3)
    assert [name.split("/")[0] for name in files(tmp_path)] == ["round-00003"]


@pytest.mark.parametrize("site", ["../north", "north/x", "", "North", "a.b"])
def test_a_name_that_is_no_site_is_an_error(tmp_path: Path, site: str) -> None:
    with pytest.raises(ValueError):
        UpdateSpool(tmp_path).writer(1, site, size=1)
    with pytest.raises(ValueError):
        UpdateSpool(tmp_path).find(1, site, DIGEST)


FULL = """
import resource, signal, sys
from pathlib import Path
from server.spool import UpdateSpool
from shared.errors import ResourceError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    with UpdateSpool(Path(sys.argv[1])).writer(1, "north", size=10**6) as writer:
        writer.write(b"x" * 4000)
        writer.write(b"x" * 4000)
except ResourceError as error:
    print(error, error.remedy)
"""


def test_a_full_disk_says_what_to_do(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FULL, tmp_path / "spool"], capture_output=True, text=True, check=True)
    assert "disk is full" in run.stdout
    assert "Make room" in run.stdout
    assert files(tmp_path) == []


DYING = """
import os, signal, sys
from pathlib import Path
from server.spool import UpdateSpool
writer = UpdateSpool(Path(sys.argv[1])).writer(1, "north", size=10**6)
writer.write(b"x" * 4000)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_no_update(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", DYING, tmp_path / "spool"], check=False)
    assert run.returncode == -signal.SIGKILL
    spool = UpdateSpool(tmp_path / "spool")
    assert spool.held(1) == set()
    spool.forget_before(1)
    assert files(tmp_path) == []
