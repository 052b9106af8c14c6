"""A study's folder: where everything of one study lies, and what should become of it.

`state.json` says what the study is (queued, running, paused, finished, failed, stopped); the supervisor
acts on it and the conductor moves it. What happened in the study is the journal's business.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from server.federation import existing_federation
from shared.durable import show_file, write_atomically
from shared.errors import StudyError
from shared.rehearsal import Terms
from shared.section import Section
from shared.study import Study

REHEARSAL = "rehearsal.json"
REMARKS_FILE = "remarks.jsonl"  # what the study's process says, for the supervisor, which says it again


class StudyState(StrEnum):
    """What a study is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"


ENDED = frozenset({StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED})


class Request(StrEnum):
    """What the coordinator may ask of a study: the name of a file that stays until it is withdrawn."""

    STOP = "stop"
    PAUSE = "pause"


class Standing(Section):
    """A study's state and, when it failed or was stopped or paused, why and what to do."""

    state: StudyState
    since: str
    reason: str | None = None
    remedy: str | None = None


@dataclass(frozen=True)
class StudyFolder:
    """One study under `studies/` of a federation folder."""

    path: Path

    @property
    def name(self) -> str:
        """The study's name."""
        return self.path.name

    @property
    def journal(self) -> Path:
        """The study's journal; absent until the study begins."""
        return self.path / "journal.jsonl"

    def study(self) -> Study:
        """The study as it is asked now: as launched, and with the amendments that are in force.

        Raises:
            StudyError: the folder holds no sound study.
        """
        try:
            return Study.model_validate_json((self.path / "study.json").read_bytes())
        except (OSError, ValidationError):
            raise StudyError(
                f"The study {self.name} cannot be read.", remedy="Restore its folder from backup or launch it anew."
            ) from None

    def rewrite(self, study: Study) -> None:
        """Put an amended study in the place of the one before it, durably."""
        write_atomically(self.path / "study.json", study.canonical())

    def source(self) -> str:
        """The text that the study was launched from; empty if it was not kept."""
        try:
            return (self.path / "study.toml").read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def rehearsal(self) -> Terms | None:
        """How the study is rehearsed; None if it is run.

        Raises:
            StudyError: it is rehearsed, and how cannot be read.
        """
        try:
            return Terms.model_validate_json((self.path / REHEARSAL).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError):
            raise StudyError(
                f"The rehearsal {self.name} cannot be read.", remedy="Remove its folder, and rehearse again."
            ) from None

    def standing(self) -> Standing:
        """The study's state."""
        try:
            return Standing.model_validate_json((self.path / "state.json").read_bytes())
        except (OSError, ValidationError):
            raise StudyError(
                f"The study {self.name} has no readable state.", remedy="Restore its folder from backup."
            ) from None

    def move(self, state: StudyState, *, now: str, reason: str | None = None, remedy: str | None = None) -> None:
        """Set the study's state durably."""
        standing = Standing(state=state, since=now, reason=reason, remedy=remedy)
        write_atomically(self.path / "state.json", standing.model_dump_json().encode())

    def ask(self, request: Request) -> None:
        """Leave a request that the conductor looks for between messages."""
        write_atomically(self.path / request.value, b"")

    def asked(self, request: Request) -> bool:
        """Whether the coordinator asked for it."""
        return (self.path / request.value).exists()

    def asked_for_s(self, request: Request) -> float:
        """How long ago that was, in seconds; 0 if it is not asked."""
        try:
            return time.time() - (self.path / request.value).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def withdraw_requests(self) -> None:
        """Forget what was asked."""
        for request in Request:
            (self.path / request.value).unlink(missing_ok=True)

    def write_status(self, status: dict[str, Any]) -> None:
        """Replace the live view that `study status` and `study watch` read."""
        show_file(self.path / "status.json", json.dumps(status).encode())

    def read_status(self) -> dict[str, Any]:
        """The live view; empty before the first one."""
        try:
            value = json.loads((self.path / "status.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}


def find_study(federation: Path, name: str) -> StudyFolder:
    """The folder of a study by name.

    Raises:
        StudyError: there is none; the known names are listed.
        ConfigError: it is not a federation's folder.
    """
    known = {folder.name: folder for folder in all_studies(existing_federation(federation))}
    if name not in known:
        raise StudyError(
            f"There is no study {name!r} in this federation.",
            remedy=f"Known studies: {', '.join(sorted(known)) or 'none yet (`wardround study launch`)'}.",
        )
    return known[name]


def find_launched(federation: Path, name: str, *, done: str) -> StudyFolder:
    """As `find_study`, of a study that was launched to be run.

    Raises:
        StudyError: also if it is a rehearsal; `done` is what is done with studies and with no rehearsal.
    """
    folder = find_study(federation, name)
    if folder.rehearsal() is not None:
        raise StudyError(f"{name} is a rehearsal and cannot be {done}.", remedy="Name a study that was launched.")
    return folder


def all_studies(federation: Path) -> Iterator[StudyFolder]:
    """Every study of a federation, by name."""
    for path in sorted((federation / "studies").glob("[!.]*/study.json")):  # a dot: still being launched
        yield StudyFolder(path.parent)
