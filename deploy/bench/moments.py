"""How far a study is, as anybody can read it in its journal; and the moments at which a fault may strike.

    open       sites are asked to open the study
    train      a round is open and nobody has reported
    ready      a site has reported, its update is on its way
    spooled    an update is whole on the server's disk
    admitted   an update counts, if the round commits
    fold       every site of the cohort is admitted
    committed  the round's model is on disk, the next round is not open
    evaluate   the last model is with the sites
    close      the study is finished, the sites are told

Stages follow each other in this order and return to `train` with each round.
"""

import json
import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from server.engine.tail import Tail
from server.record import Record
from server.records import (
    RECORDS,
    RoundCommitted,
    RoundOpened,
    SiteScored,
    StudyFinished,
    UpdateAdmitted,
    UpdateReady,
    UpdateSpooled,
)


class Point(StrEnum):
    """The stages, in their order."""

    OPEN = "open"
    TRAIN = "train"
    READY = "ready"
    SPOOLED = "spooled"
    ADMITTED = "admitted"
    FOLD = "fold"
    COMMITTED = "committed"
    EVALUATE = "evaluate"
    CLOSE = "close"


ORDER = tuple(Point)
ONCE = (Point.OPEN, Point.EVALUATE, Point.CLOSE)  # the others come in every round


@dataclass(frozen=True)
class Reached:
    """How far a study is: its round (0 before the first) and the stage in it."""

    round: int
    point: Point

    def passed(self, other: "Reached") -> bool:
        """Whether this is at another place of the study, or behind it."""
        return self._place >= other._place

    @property
    def _place(self) -> tuple[int, int]:
        return self.round, ORDER.index(self.point)


class Progress:
    """How far a study is by its journal's records.

    Args:
        rounds: how many the study has.

    Attributes:
        now: the place that the last record led to.
    """

    def __init__(self, *, rounds: int) -> None:
        self.now = Reached(0, Point.OPEN)
        self._rounds = rounds
        self._cohort = self._admitted = 0

    def take(self, record: Record) -> None:
        """Follow the next record."""
        match record:
            case RoundOpened():
                self._cohort, self._admitted = len(record.cohort), 0
                self.now = Reached(record.round, Point.TRAIN)
            case UpdateReady():
                self.now = Reached(record.round, Point.READY)
            case UpdateSpooled():
                self.now = Reached(record.round, Point.SPOOLED)
            case UpdateAdmitted():
                self._admitted += 1
                self.now = Reached(record.round, Point.FOLD if self._admitted == self._cohort else Point.ADMITTED)
            case RoundCommitted():
                last = record.round == self._rounds
                self.now = Reached(record.round, Point.EVALUATE if last else Point.COMMITTED)
            case SiteScored():
                self.now = Reached(self._rounds, Point.EVALUATE)
            case StudyFinished():
                self.now = Reached(self._rounds, Point.CLOSE)


class Lookout:
    """Follows a study's journal from outside, line by line as it grows.

    Args:
        journal: the file; it need not be there yet.
        rounds: how many the study has.
    """

    def __init__(self, journal: Path, *, rounds: int) -> None:
        self._tail = Tail(journal, from_start=True)
        self._lines: deque[str] = deque()
        self._progress = Progress(rounds=rounds)

    def look(self, *, until: float = math.inf) -> Reached:
        """How far the study is now, or was at a time (Unix seconds) since the last look."""
        self._lines.extend(self._tail.lines())
        while self._lines:
            entry = json.loads(self._lines[0])
            if datetime.fromisoformat(entry["time"]).timestamp() > until:
                break
            self._lines.popleft()
            if (record := RECORDS.get(entry["type"])) is not None:
                self._progress.take(record.model_validate(entry["data"]))
        return self._progress.now
