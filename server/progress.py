"""How far a study is, from the entries of its journal as they come.

Times are those that the journal carries, so a study that was resumed keeps its record. How long the rest
takes is a guess from the committed rounds; the closing trip is not in it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

from server.drift import Finding, Habits
from server.journal import record_of
from server.pooling import How, tells, together
from server.record import Record
from server.records import RECORDS, RoundCommitted, RoundOpened, SiteValidated, UpdateReady, UpdateSpooled
from shared.ledger import Entry
from shared.metrics import Score
from shared.tasks import Task


@dataclass(frozen=True)
class Validated:
    """A model on validation patients: after how many rounds, at how many sites, its figure and how it was made."""

    model: int
    sites: int
    merit: float
    how: How = "pooled"


@dataclass
class Progress:
    """What the entries so far add up to.

    Attributes:
        round_seconds: of each committed round, from its last opening to its commit.
        received_bytes: of whole updates, each once.
    """

    round_seconds: list[float] = field(default_factory=list)
    received_bytes: int = 0
    _habits: Habits = field(default_factory=Habits)
    _here: set[str] = field(default_factory=set)  # updates of the round in hand that were received
    _opened_at: datetime | None = None
    _scores: dict[int, dict[str, Score]] = field(default_factory=dict)  # by rounds behind the model, by site
    _withheld: dict[int, set[str]] = field(default_factory=dict)  # by rounds behind the model

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in the entries that were added; raises `ProtocolError` for one of another version."""
        for entry in entries:
            if entry.type in RECORDS:
                self._take(datetime.fromisoformat(entry.time), record_of(entry))

    @property
    def median_round_s(self) -> float | None:
        """The median of the committed rounds; None before the first."""
        return median(self.round_seconds) if self.round_seconds else None

    @property
    def unusual(self) -> list[Finding]:
        """What was unusual at a site in the last committed round in which it took part."""
        return [found for _, found in sorted(self._habits.unusual.items())]

    def left_s(self, rounds: int) -> float | None:
        """How long so many more rounds take, as it looks; None before the first commit."""
        typical = self.median_round_s
        return None if typical is None else typical * rounds

    def validation(self, task: Task) -> Validated | None:
        """The last model that a site scored on its validation patients."""
        for model, scores in sorted(self._scores.items(), reverse=True):
            found = together(task, scores)
            if task.merit in found.figures:
                return Validated(model, len(found.sites), found.figures[task.merit], found.how)
        return None

    @property
    def withheld(self) -> tuple[str, ...]:
        """The sites that kept their score of the last model that any scored, or kept the score of."""
        return tuple(sorted(self._withheld[max(self._withheld)])) if self._withheld else ()

    def _take(self, time: datetime, record: Record) -> None:
        self._habits.take(record)
        match record:
            case RoundOpened():
                self._opened_at = time
            case RoundCommitted() if self._opened_at is not None:
                self.round_seconds.append((time - self._opened_at).total_seconds())
                self._opened_at = None
                self._here.clear()
            case UpdateSpooled() if record.update_digest not in self._here:  # else it lay on the disk already
                self._here.add(record.update_digest)
                self.received_bytes += record.update_bytes
            case UpdateReady():
                self._score(record.round - 1, record)
            case SiteValidated():
                self._score(record.model, record)

    def _score(self, model: int, record: UpdateReady | SiteValidated) -> None:
        """The scores of round r are of the model that entered it; two models are kept, the rest is over."""
        for score in record.scores:
            if score.split == "validation" and tells(score):
                self._scores.setdefault(model, {})[record.site] = score
        if "validation" in record.withheld:
            self._withheld.setdefault(model, set()).add(record.site)
        self._scores = {number: scores for number, scores in self._scores.items() if number >= model - 1}
        self._withheld = {number: sites for number, sites in self._withheld.items() if number >= model - 1}
