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

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from server.journal import read_records
from server.records import (
    Record,
    RoundCommitted,
    RoundOpened,
    SiteScored,
    StudyFinished,
    UpdateAdmitted,
    UpdateReady,
    UpdateSpooled,
)
from shared.errors import TrustError


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


def reached(records: Iterable[Record], *, rounds: int) -> Reached:
    """How far a study is by its journal's records.

    Args:
        records: of the journal, in order.
        rounds: how many the study has.
    """
    now, cohort, admitted = Reached(0, Point.OPEN), 0, 0
    for record in records:
        match record:
            case RoundOpened():
                now, cohort, admitted = Reached(record.round, Point.TRAIN), len(record.cohort), 0
            case UpdateReady():
                now = Reached(record.round, Point.READY)
            case UpdateSpooled():
                now = Reached(record.round, Point.SPOOLED)
            case UpdateAdmitted():
                admitted += 1
                now = Reached(record.round, Point.FOLD if admitted == cohort else Point.ADMITTED)
            case RoundCommitted():
                now = Reached(record.round, Point.COMMITTED if record.round < rounds else Point.EVALUATE)
            case SiteScored():
                now = Reached(rounds, Point.EVALUATE)
            case StudyFinished():
                now = Reached(rounds, Point.CLOSE)
    return now


class Lookout:
    """Follows a study's journal from outside.

    Args:
        journal: the file; it need not be there yet.
        rounds: how many the study has.
    """

    def __init__(self, journal: Path, *, rounds: int) -> None:
        self._journal = journal
        self._rounds = rounds
        self._size = 0
        self._now = Reached(0, Point.OPEN)

    def look(self) -> Reached:
        """How far the study is now."""
        size = self._journal.stat().st_size if self._journal.exists() else 0
        if size != self._size:
            try:
                self._now = reached((record for _, record in read_records(self._journal)), rounds=self._rounds)
            except TrustError:  # a line is being written over
                return self._now
            self._size = size
        return self._now
