"""A paused or departed site is not called ready, and nothing of a check that was killed stays."""

from pathlib import Path

from client.checks.grounds import Grounds
from client.checks.registry import checks_for
from client.leaving import leave
from client.pausing import Pause, pause
from client.scratch import scratch
from shared.preflight import Finding
from shared.rehearsal import Outcome


def standing(folder: Path) -> Finding:
    grounds = Grounds(folder)
    (check,) = (check for check in checks_for(grounds) if check.name == "standing")
    return check.look(grounds)


def test_a_pause_is_to_be_known_and_a_leave_ends_the_matter(tmp_path: Path) -> None:
    assert standing(tmp_path).outcome is Outcome.PASS
    decided = Pause(by="Ada", since="2026-03-01T12:00:00Z", reason="The ward moves.")
    pause(tmp_path, decided)
    found = standing(tmp_path)
    assert found.outcome is Outcome.WARN and "site resume" in found.remedy
    assert "Ada since 2026-03-01T12:00:00Z" in found.what
    leave(tmp_path, decided)
    assert standing(tmp_path).outcome is Outcome.FIX


def test_what_a_killed_check_left_goes_and_what_a_running_one_uses_stays(tmp_path: Path) -> None:
    left = tmp_path / ".check-killed"
    left.mkdir()
    (left / "update").write_bytes(b"x")
    with scratch(tmp_path) as used:
        standing(tmp_path)
        assert used.is_dir() and not left.exists()
    assert not used.exists()
