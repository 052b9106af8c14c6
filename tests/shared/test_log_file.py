"""A log has one JSON object a line, is bounded, and stops no work."""

import json
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError
from shared.log_file import FORMAT_VARIABLE, Log, LogSettings, rotated
from shared.quiet import quiet
from shared.remarks import UNNAMED, remark

NOW = "2026-11-26T21:54:51.000Z"


class Said:
    """A log in a folder, and what its console heard."""

    def __init__(self, base: Path, **settings: Any) -> None:
        self.console: list[str] = []
        self.folder = base / "logs"
        self.say = Log("agent", base, now=lambda: NOW, console=self.console.append)
        self.say.follow(LogSettings(**settings), site="ward-a")

    def lines(self) -> list[dict[str, Any]]:
        """All that was written, the oldest file first."""
        files = sorted(
            self.folder.glob("agent.jsonl*"), key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0
        )
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Callable[..., Said]]:
    made: list[Said] = []

    def make(**settings: Any) -> Said:
        made.append(Said(tmp_path, **settings))
        return made[-1]

    yield make
    for said in made:
        said.say.close()


def test_a_line_has_time_level_event_and_what_it_is_about(log: Callable[..., Said]) -> None:
    said = log()
    said.say(remark("Study {study}, round {round}: {who}", level="warning", study="lungs", round=2, who="Ada"))
    assert said.console == ["Study lungs, round 2: Ada"]
    [line] = (said.folder / "agent.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "time": NOW,
        "level": "warning",
        "event": "Study {study}, round {round}: {who}",
        "study": "lungs",
        "round": 2,
        "site": "ward-a",
    }
    assert line.startswith(f'{{"time": "{NOW}", "level": "warning", "event": ')


def test_a_line_that_is_no_remark_is_not_repeated(log: Callable[..., Said]) -> None:
    said = log()
    said.say("/srv/images/ada.dcm cannot be read")
    assert said.lines() == [{"time": NOW, "level": "info", "event": UNNAMED, "site": "ward-a"}]


def test_files_are_this_accounts_alone(log: Callable[..., Said]) -> None:
    said = log()
    said.say("x")
    assert stat.S_IMODE(said.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((said.folder / "agent.jsonl").stat().st_mode) == 0o600


def test_a_log_grows_to_its_size_and_keeps_its_number(log: Callable[..., Said]) -> None:
    said = log(max_mb=0.001, keep=2)
    for number in range(60):
        said.say(remark("Round {round}.", round=number))
    files = sorted(path.name for path in said.folder.iterdir())
    assert files == ["agent.jsonl", "agent.jsonl.1", "agent.jsonl.2"]
    assert all(path.stat().st_size <= 1000 for path in said.folder.iterdir())
    rounds = [line["round"] for line in said.lines()]
    assert rounds == list(range(60 - len(rounds), 60)) and 10 < len(rounds) < 60


def test_none_is_written_where_none_is_wanted(log: Callable[..., Said]) -> None:
    said = log(max_mb=0)
    said.say("x")
    assert said.console == ["x"] and not said.folder.exists()


def test_other_settings_are_followed(log: Callable[..., Said], tmp_path: Path) -> None:
    said = log()
    said.say(remark("First."))
    said.say.follow(LogSettings(folder=tmp_path / "elsewhere"), site="ward-a")
    said.say(remark("Second."))
    assert [line["event"] for line in said.lines()] == ["First."]
    assert "Second." in (tmp_path / "elsewhere" / "agent.jsonl").read_text()


def test_a_log_that_cannot_be_written_is_told_once(log: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder belongs")
    said = log()
    said.say("a")
    said.say("b")
    assert said.console == ["The log cannot be written (File exists); the work goes on.", "a", "b"]


def test_the_switch_that_quiets_libraries_does_not_quiet_us(log: Callable[..., Said]) -> None:
    said = log()
    with quiet():
        said.say(remark("Heard."))
    assert [line["event"] for line in said.lines()] == ["Heard."]


def test_lines_of_several_threads_stay_whole(log: Callable[..., Said]) -> None:
    said = log(max_mb=0.01, keep=1000)
    threads = [
        threading.Thread(target=lambda: [said.say(remark("Round {round}.", round=n)) for n in range(100)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(line["round"] for line in said.lines()) == sorted([*range(100)] * 4)


@pytest.mark.parametrize("by_environment", [True, False])
def test_the_console_may_be_json(
    log: Callable[..., Said],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    by_environment: bool,
) -> None:
    if by_environment:
        monkeypatch.setenv(FORMAT_VARIABLE, "json")
    said = log(**({} if by_environment else {"format": "json"}))
    said.say(remark("{who} waits.", who="Ada"))
    assert json.loads(capsys.readouterr().out)["event"] == "{who} waits."
    assert said.console == []


def test_an_unknown_format_is_refused(log: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORMAT_VARIABLE, "xml")
    with pytest.raises(ConfigError, match="neither text nor json"):
        log()


def test_a_file_that_others_write_is_put_aside_when_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    rotated(path)
    path.write_bytes(b"x" * 1001)
    rotated(path, max_mb=0.01)
    assert path.exists()
    rotated(path, max_mb=0.001)
    assert not path.exists() and (tmp_path / "worker.log.1").stat().st_size == 1001
