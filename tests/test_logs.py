"""What a live federation logs: every line parses, says whose it is, and nothing of a patient or a path."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from live_federation import LiveFederation

from shared.remarks import LEVELS, LOGGED, UNNAMED

HEAD = ("time", "level", "event")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def files(folder: Path, name: str) -> list[Path]:
    """Those of one process, the oldest first."""
    found = (folder / "logs").glob(f"{name}.jsonl*")
    return sorted(found, key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    """What one process has logged; read once more if a file was put aside, which moves all others, as they were."""
    while True:
        found = files(folder, name)
        with suppress(FileNotFoundError):
            text = "".join(path.read_text() for path in found)
            if files(folder, name) == found:
                return [json.loads(line) for line in text.splitlines()]


def test_logs_of_a_live_federation(federation: LiveFederation) -> None:
    live = federation
    live.run_study("logged", rounds=2, steps=2)
    told = {name: lines(folder, "agent") for name, folder in live.sites.items()}
    worked = {name: lines(folder, "worker") for name, folder in live.sites.items()}
    ended = "Study {study} is finished after {rounds} rounds."
    live.until(lambda: ended in _events(lines(live.federation, "server"), study="logged"), "the server's last word")
    server = lines(live.federation, "server")

    for line in (*server, *(line for some in (*told.values(), *worked.values()) for line in some)):
        assert tuple(line)[:3] == HEAD and set(line) <= {*HEAD, *LOGGED}
        assert TIME.fullmatch(line["time"]) and line["level"] in LEVELS and line["event"] != UNNAMED
    for name in live.sites:
        assert {line["site"] for line in (*told[name], *worked[name])} == {name}
        assert "Study {study} is open; working on {device}." in _events(told[name], study="logged")
        rounds = {
            line["round"] for line in worked[name] if line.get("study") == "logged" and line.get("job") == "round"
        }
        assert rounds == {1, 2}
    counted = [line for line in server if line["event"].startswith("Round {round}/") and line["study"] == "logged"]
    assert [(line["round"], line["counted"]) for line in counted] == [(1, 3), (2, 3)]


def test_nothing_of_a_patient_or_a_path_is_in_them(federation: LiveFederation) -> None:
    live = federation
    folders = (live.federation, *live.sites.values())
    text = "".join(path.read_text() for folder in folders for path in (folder / "logs").iterdir())
    assert text and "patient " not in re.sub(r'"event": "[^"]*"', "", text)
    assert str(live.root) not in text and ".npz" not in text and "patient 1" not in text


def test_they_rotate_at_their_size(federation: LiveFederation) -> None:
    most = 1e6 * federation.log_mb
    found = files(federation.federation, "server")
    assert len(found) > 1
    assert all(path.stat().st_size <= most for path in found)


def _events(some: list[dict[str, Any]], *, study: str) -> set[str]:
    return {line["event"] for line in some if line.get("study") == study}
