"""One owner per study, across real processes and the way they die."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from server.owner import claim, read_owner
from shared.errors import StaleEpoch, StudyError

OTHER = """
import sys
from pathlib import Path
from server.owner import claim
folder, inside = Path(sys.argv[1]), sys.argv[2] == "inside"
ownership = claim(folder)
def wait():
    print(ownership.epoch, flush=True)
    sys.stdin.readline()
if inside:
    with ownership.guard():
        wait()
else:
    wait()
try:
    with ownership.guard():
        print("committed")
except Exception as error:
    print(type(error).__name__)
"""


@contextmanager
def other(folder: Path, *, inside: bool = False) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OTHER, str(folder), "inside" if inside else "outside"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def nudge(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_each_claim_raises_the_epoch(tmp_path: Path) -> None:
    assert read_owner(tmp_path) is None
    first, second = claim(tmp_path), claim(tmp_path)
    assert (first.epoch, second.epoch) == (1, 2)
    with second.guard():
        pass
    second.check()
    with pytest.raises(StaleEpoch, match="epoch 1 is over"):
        first.check()
    with pytest.raises(StaleEpoch), first.guard():
        pytest.fail("a stale owner was let in")


def test_the_journal_s_epoch_is_never_used_again(tmp_path: Path) -> None:
    assert claim(tmp_path, after=7).epoch == 8
    (tmp_path / "owner.json").unlink()
    assert claim(tmp_path, after=8).epoch == 9


def test_an_owner_knows_its_process(tmp_path: Path) -> None:
    claim(tmp_path)
    owner = read_owner(tmp_path)
    assert owner is not None
    assert owner.pid == os.getpid()
    assert owner.alive()
    assert not owner.model_copy(update={"started": owner.started - 60}).alive()


def test_another_process_takes_over_and_the_first_is_stale(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        assert said(process) == "1"
        assert claim(tmp_path).epoch == 2
        nudge(process)
        assert said(process) == "StaleEpoch"


def test_an_owner_that_stays_commits(tmp_path: Path) -> None:
    with other(tmp_path) as process:
        assert said(process) == "1"
        nudge(process)
        assert said(process) == "committed"


def test_a_killed_owner_does_not_block_even_inside_a_commit(tmp_path: Path) -> None:
    with other(tmp_path, inside=True) as process:
        assert said(process) == "1"
        process.send_signal(signal.SIGKILL)
        process.wait()
        owner = read_owner(tmp_path)
        assert owner is not None
        assert not owner.alive()
        ownership = claim(tmp_path)
    assert ownership.epoch == 2
    with ownership.guard():
        pass


def test_a_commit_under_way_is_waited_for_and_no_longer_than_told(tmp_path: Path) -> None:
    with other(tmp_path, inside=True) as process:
        assert said(process) == "1"
        with pytest.raises(StudyError, match="middle of a commit"):
            claim(tmp_path, patience_s=0.1)
        nudge(process)
        assert said(process) == "committed"
        assert claim(tmp_path).epoch == 2


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"epoch": 0, "pid": 1, "started": 0})])
def test_a_damaged_record_is_said_to_be_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "owner.json").write_text(text)
    with pytest.raises(StudyError, match="damaged"):
        claim(tmp_path)
