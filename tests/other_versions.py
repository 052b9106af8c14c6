"""Copies of the software that are of another version, a site that runs under one, and what consoles say meanwhile."""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_federation import LiveFederation

from shared.protocol import OLDEST, PROTOCOL
from shared.version import VERSION

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
OLDER, FAR_NEWER = "0.0.9", "7.1.0"


class Console:
    """What a process has said since this was made, its times left out."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._from = log.stat().st_size if log.exists() else 0

    def lines(self) -> list[str]:
        text = self._log.read_bytes()[self._from :].decode() if self._log.exists() else ""
        return [line.partition("Z ")[2] or line for line in text.splitlines()]

    def await_line(self, sentence: str) -> None:
        until(lambda: sentence in self.lines(), lambda: f"{sentence!r} in {self.lines()}")

    def troubles(self) -> list[str]:
        """All but where a site computes, which it says first."""
        return [line for line in self.lines() if not line.startswith("Computing on")]


def until(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


def console(live: LiveFederation, name: str) -> Console:
    return Console(live.root / "logs" / f"{name}.log")


def another_version(folder: Path, version: str, *edits: tuple[str, str, str]) -> Path:
    """A copy of the software that calls itself another version; an edit is a file, what it says, and what instead."""
    for package in ("shared", "server", "client", "deploy"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file, old, new in (("shared/version.py", VERSION, version), *edits):
        text = (folder / file).read_text()
        assert old in text, file
        (folder / file).write_text(text.replace(old, new))
    return folder


def held_to_the_oldest(folder: Path) -> Path:
    """A copy that reads no protocol but the oldest: it knows no rehearsal."""
    return another_version(
        folder, OLDER, ("shared/protocol.py", f"PROTOCOL: Final = {PROTOCOL}", "PROTOCOL: Final = 1")
    )


def of_a_later_protocol(folder: Path) -> Path:
    """A copy that neither reads nor writes what this version reads."""
    later = PROTOCOL + 1
    return another_version(
        folder,
        FAR_NEWER,
        ("shared/protocol.py", f"PROTOCOL: Final = {PROTOCOL}", f"PROTOCOL: Final = {later}"),
        ("shared/protocol.py", f"OLDEST: Final = {OLDEST}", f"OLDEST: Final = {later}"),
        ("shared/wire.py", "ge=1, le=PROTOCOL)] = 1", f"ge=1, le=PROTOCOL)] = {later}"),
    )


@contextmanager
def running(live: LiveFederation, site: str, software: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Console]:
    """A site under other software; afterwards it is back under its own."""
    live.stop(site)
    own = console(live, site)
    with monkeypatch.context() as there:
        there.setenv("PYTHONPATH", str(software))
        live.start_site(site)
    yield own
    live.stop(site)
    own = console(live, site)
    live.start_site(site)
    own.await_line("Connected to the federation; waiting for work.")
