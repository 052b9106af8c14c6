"""The ledger file keeps what it was told, through crashes, full disks and second writers."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import DiskFull, ResourceError, StaleEpoch, TrustError
from shared.ledger import Ledger, _disk, read_entries, read_lines, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = "2026-01-02T03:04:05Z"
ROOT = Path(__file__).parents[2]


def opened(path: Path) -> Ledger:
    return Ledger.open(path, key=KEY, signer="north", now=NOW)


def filled(path: Path, count: int = 3) -> bytes:
    with opened(path) as ledger:
        for round_number in range(count):
            ledger.append("release", {"round": round_number}, time=NOW)
    return path.read_bytes()


def types(path: Path) -> list[str]:
    return [entry.type for entry in read_entries(path)]


def test_entries_survive_closing_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    filled(path, 2)
    with opened(path) as ledger:
        assert ledger.count == 2
        entry = ledger.append("receipt", {"round": 1}, time=NOW)
        assert (entry.n, entry.type, entry.time, entry.data) == (3, "receipt", NOW, {"round": 1})
        head = ledger.sign_head(time=NOW)
        assert ledger.head == head.hash
    verdict = verify(read_lines(path), public_key=KEY.public_key(), signer="north")
    assert (verdict.ok, verdict.entries, verdict.end_signed, verdict.head) == (True, 4, True, head.hash)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_entries_that_do_not_wait_stand_in_the_chain_like_others(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with opened(path) as ledger:
        ledger.append("note", {"i": 1}, time=NOW, wait=False)
        ledger.sign_head(time=NOW, wait=False)
        ledger.append("note", {"i": 2}, time=NOW)
    with opened(path) as ledger:
        assert ledger.count == 3
    assert types(path) == ["note", "head", "note"]
    assert verify(read_lines(path), public_key=KEY.public_key(), signer="north").ok


def test_an_empty_ledger_has_no_head(tmp_path: Path) -> None:
    with opened(tmp_path / "ledger.jsonl") as ledger:
        assert (ledger.count, ledger.head) == (0, "0" * 64)
    assert types(tmp_path / "ledger.jsonl") == []


@pytest.mark.parametrize("kept", [1, 50, 150])
def test_a_torn_last_line_is_cut_off_and_recorded(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = filled(path)
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: len(whole) - len(last) + kept])
    assert types(path) == ["release", "release"]
    with opened(path) as ledger:
        ledger.append("release", {"round": 2}, time=NOW)
    entries = list(read_entries(path))
    assert [entry.type for entry in entries] == ["release", "release", "cut", "release"]
    assert entries[2].data == {"bytes": kept}
    assert verify(read_lines(path), public_key=KEY.public_key(), signer="north").ok


def test_a_torn_line_longer_than_its_record_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = filled(path)
    path.write_bytes(whole + b"x" * 5000)
    opened(path).close()
    assert types(path)[-1] == "cut"
    assert path.read_bytes().endswith(b"}\n")


def test_a_crash_while_cutting_is_cut_again(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    torn = filled(path) + b"x" * 5000
    path.write_bytes(torn)
    opened(path).close()
    recorded = path.read_bytes()
    path.write_bytes(recorded + torn[len(recorded) :])  # the record written, the rest not yet cut off
    opened(path).close()
    assert types(path)[-2:] == ["cut", "cut"]


def test_a_damaged_whole_line_is_never_cut(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(filled(path).replace(b'"round":1', b'"round":7'))
    before = path.read_bytes()
    with pytest.raises(TrustError, match=r"Line 3 of ledger.jsonl: The entry does not follow"):
        opened(path)
    with pytest.raises(TrustError, match="Line 3"):
        types(path)
    assert path.read_bytes() == before


def test_a_line_without_end_is_never_taken_for_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(filled(path, 1) + b"x" * (1 << 20))
    with pytest.raises(TrustError, match="no end, or is too long"):
        opened(path)


def test_a_second_writer_stops_the_first(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with opened(path) as old, opened(path) as new:
        new.append("opened", {}, time=NOW)
        with pytest.raises(StaleEpoch, match="Another process wrote"):
            old.append("release", {}, time=NOW)
        with pytest.raises(StaleEpoch):
            old.sign_head(time=NOW)
        new.append("release", {}, time=NOW)
    assert types(path) == ["opened", "release"]


@pytest.mark.parametrize("reserved", ["head", "cut"])
def test_the_ledgers_own_types_are_not_for_callers(tmp_path: Path, reserved: str) -> None:
    with opened(tmp_path / "ledger.jsonl") as ledger, pytest.raises(ValueError, match="by the ledger itself"):
        ledger.append(reserved, {}, time=NOW)


@pytest.mark.parametrize("bad", [float("nan"), 1e17])
def test_bad_data_leaves_the_ledger_usable(tmp_path: Path, bad: float) -> None:
    path = tmp_path / "ledger.jsonl"
    with opened(path) as ledger:
        with pytest.raises(ValueError, match=r".+"):
            ledger.append("release", {"loss": bad}, time=NOW)
        ledger.append("release", {"loss": 0.5}, time=NOW)
    assert types(path) == ["release"]


def test_a_full_disk_is_a_resource_error_and_leaves_the_chain_whole(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    size = len(filled(path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with opened(path) as ledger:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, limits[1]))
            with pytest.raises(ResourceError, match=os.strerror(errno.EFBIG)):
                ledger.append("release", {"round": 3}, time=NOW)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)
        assert path.stat().st_size == size
        ledger.append("release", {"round": 3}, time=NOW)
    assert types(path) == ["release"] * 4


def test_a_folder_that_is_not_there_is_a_resource_error(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        opened(tmp_path / "none" / "ledger.jsonl")


def test_closing_twice_is_fine(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "ledger.jsonl")
    ledger.close()
    ledger.close()


def test_what_a_killed_writer_was_told_is_there(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    code = f"""
import os, signal
from pathlib import Path
from shared.keys import make_identity_key
from shared.ledger import Ledger
ledger = Ledger.open(Path({str(path)!r}), key=make_identity_key(), signer="north", now={NOW!r})
while True:
    print(ledger.append("release", {{"pad": "x" * 3000}}, time={NOW!r}).n, flush=True)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        acknowledged = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        acknowledged += [int(line) for line in process.stdout.read().split(b"\n")[:-1]]
    with opened(path) as ledger:
        assert ledger.count >= acknowledged[-1]
    assert [entry.n for entry in read_entries(path)][: len(acknowledged)] == acknowledged


@pytest.mark.parametrize("share", [0.0, 0.1, 0.33, 0.5, 0.66, 0.9, 0.999, 1.0])
def test_wherever_the_file_ends_the_whole_lines_stay_and_the_rest_is_accounted_for(
    tmp_path: Path, share: float
) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = filled(path, 5)
    size = int(len(whole) * share)
    path.write_bytes(whole[:size])
    kept = whole[:size].count(b"\n")
    torn = size - (whole[:size].rfind(b"\n") + 1)
    with opened(path) as ledger:
        ledger.sign_head(time=NOW)
    entries = list(read_entries(path))
    assert [entry.data["round"] for entry in entries[:kept]] == list(range(kept))
    assert [entry.data for entry in entries[kept:-1]] == ([{"bytes": torn}] if torn else [])
    assert verify(read_lines(path), public_key=KEY.public_key(), signer="north").end_signed


def test_a_reader_follows_a_ledger_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with opened(path) as ledger:
        for count in range(1, 4):
            ledger.append("release", {"round": count}, time=NOW)
            assert [entry.data["round"] for entry in read_entries(path)] == list(range(1, count + 1))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_is_named(number: int) -> None:
    assert isinstance(_disk(OSError(number, "no room")), DiskFull)
    assert not isinstance(_disk(OSError(errno.EIO, "broken")), DiskFull)
