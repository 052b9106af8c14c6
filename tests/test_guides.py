"""The three guides are followed: what each has its reader type first is typed, word for word, to the first result.

One run for all of them: a coordinator, two hospitals and an auditor, who share nothing but this machine's loopback
address, which stands in the place of the server's name, and the files that the guides have them send.
"""

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, suppress
from pathlib import Path

import pytest
from drill.guides import AUDITOR, COORDINATOR, README, SITE, commands, first_part
from drill.story import fingerprint
from live_federation import wardround

from deploy.local import wardround_command
from deploy.phantom import HOSPITALS, draw_hospital
from server.study_folder import ENDED, StudyState, find_study
from shared.loopback import ADDRESS, free_port
from shared.parent import PARENT_VARIABLE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # on a busy machine

WARDS = ("ward-a", "ward-b")
PATIENTS = 60
ROUNDS = 2
PATIENCE_S = 120.0
ENVIRONMENT = os.environ | {PARENT_VARIABLE: str(os.getpid())}
HAND_OVER = "wardround site ledger --config ward-a/site.toml --to evidence"


class Reader:
    """Somebody with a folder of their own, who types what a guide says."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: list[subprocess.Popen[bytes]] = []
        home.mkdir()

    def types(self, line: str, *more: str) -> str:
        """Type a command and wait; what it says. `more` are words that are this reader's own."""
        with chdir(self.home):
            done = wardround(*words(line), *more)
        assert done.exit_code == 0, (line, done.output)
        return done.stdout

    def starts(self, line: str) -> None:
        """Type a command that goes on until it is stopped."""
        with (self.home / "console.log").open("ab") as log:
            process = subprocess.Popen(
                [wardround_command(), *words(line)], cwd=self.home, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log,
            )  # fmt: skip
        self.running.append(process)

    def stops(self) -> None:
        """Stop what was started, as Ctrl-C does."""
        for process in self.running:
            process.send_signal(signal.SIGINT)
        for process in self.running:
            process.wait(PATIENCE_S)


def test_the_three_guides_lead_to_their_results(readers: dict[str, Reader]) -> None:
    init, invite, admit, serve, new, launch = first_part(COORDINATOR)
    join, data, check, start, sent = first_part(SITE)
    verify, reconcile = first_part(AUDITOR)
    coordinator, auditor, port = readers["coordinator"], readers["auditor"], free_port()

    theirs = fingerprint(coordinator.types(init, "--port", str(port)), "Coordinator's key")
    for ward in WARDS:
        hospital = readers[ward]
        coordinator.types(about(ward, invite))
        shutil.copy(coordinator.home / f"north/invitations/{ward}.json", hospital.home)
        joined = hospital.types(about(ward, join))
        assert fingerprint(joined, "coordinator's") == theirs
        assert "used" in hospital.types(about(ward, data))
        shutil.copy(hospital.home / ward / f"{ward}-request.json", coordinator.home)
        coordinator.types(about(ward, admit), "--fingerprint", fingerprint(joined, "your fingerprint"))
    coordinator.starts(serve)
    until(lambda: answers(port), "a server")
    for ward in WARDS:
        readers[ward].types(about(ward, check))
        readers[ward].starts(about(ward, start))

    coordinator.types(new)
    file = coordinator.home / "pneumonia.toml"
    file.write_text(file.read_text().replace("count = 10", f"count = {ROUNDS}"))
    coordinator.types(launch)
    study = find_study(coordinator.home / "north", "pneumonia")
    until(lambda: study.standing().state in ENDED, "the end of the study")
    assert study.standing().state is StudyState.FINISHED

    assert "pneumonia" in readers["ward-a"].types(sent)
    readers["ward-a"].types(HAND_OVER)
    for handed in (*(readers["ward-a"].home / "evidence").iterdir(), study.path / "journal.jsonl"):
        shutil.copy(handed, auditor.home)
    said = auditor.types(verify)
    assert "consistent and anchored" in said
    assert theirs in said
    assert "the books agree" in auditor.types(reconcile)


@pytest.fixture
def readers(tmp_path: Path) -> Iterator[dict[str, Reader]]:
    """The people of the guides; the hospitals have prepared their images. What they started ends with the test."""
    found = {name: Reader(tmp_path / name) for name in ("coordinator", *WARDS, "auditor")}
    for ward, phantom in zip(WARDS, HOSPITALS, strict=False):
        home = found[ward].home
        draw_hospital(dataclasses.replace(phantom, name=ward), home / "images", seed=1, patients=PATIENTS)
        (home / "images/labels.csv").replace(home / "labels.csv")
    try:
        yield found
    finally:
        for reader in reversed(found.values()):  # the sites before their server
            reader.stops()


def words(line: str) -> list[str]:
    """What is typed behind the program's name, at the loopback address."""
    program, *rest = line.replace("federation.example.org", ADDRESS).split()
    assert program == "wardround"
    return rest


def about(ward: str, line: str) -> str:
    """A guide's command as another hospital types it."""
    return line.replace("ward-a", ward)


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection((ADDRESS, port), timeout=1.0):
        return True
    return False


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{PATIENCE_S:.0f} s passed without {what}"
        time.sleep(0.1)


def test_what_the_site_hands_over_is_what_the_readme_says() -> None:
    assert HAND_OVER in commands(README)
