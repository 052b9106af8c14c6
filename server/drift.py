"""Whether a site does otherwise than it used to: its figures of a round beside those of its own earlier rounds.

Watched are the norm of its update, its training time, how many images it trained on, and loss and AUROC or Dice that it
released of the incoming model, if it has enough validation patients. Bytes are not: every update of a study has
the same size. A figure is unusual if, on its scale (ratios, but for AUROC and Dice),

1. it lies farther from what the site's own last rounds lead to expect than `WIDTH` robust standard deviations of
   these (1.4826 median absolute deviations), and than the least change that matters to anyone. To be expected is
   their median; of a figure that training moves, whatever lies between the end of the line through them (Theil-Sen,
   which a few strange rounds do not bend) and where it goes in one more round, for training goes on or levels off;
2. and it still does when what the other sites moved in the same round, the median of theirs, is taken off. Else
   all moved alike, and it is the round, not the site. Where fewer than two others can be asked nothing is taken
   off; then a move that training itself makes (norm and loss down, AUROC and Dice up) is not called unusual either.

Unusual is a reason to ask the site, and nothing else: this excludes nobody and changes no weight. Of sites whose
figures vary by chance alone, by 5 % from round to round, less than 1 value in 1,000 is called unusual, and if they
vary by 30 % less than 1 in 100, heavy tails included (`tests/server/test_drift.py` measures it).
"""

import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateAdmitted, UpdateReady
from shared.metrics import MERITS

FEWEST_ROUNDS = 6  # of a site before it is judged: the spread of fewer is too uncertain, and a default study has 10
MOST_ROUNDS = 12  # so that a change which lasts becomes what is usual, after about half as many rounds
WIDTH = 6.0  # robust standard deviations; so many because their own estimate from 6 rounds is a rough one
WIDTH_OF_LINE = 8.0  # the same, where a slope is estimated from these rounds, too
FEWEST_OTHERS = 2
FEWEST_PATIENTS = 20  # to validate on: of fewer a single one moves loss and AUROC by more than what matters
_MAD_TO_SD = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Figure:
    """A figure that is watched.

    Attributes:
        name: `norm`, `seconds`, `examples`, `loss`, `auroc` or `dice`.
        ratio: whether changes are ratios; else they are differences.
        least: the smallest change that matters, as a ratio or difference.
        floor: smaller values are taken as this one, below which no change matters.
        learning: in which direction training itself moves it, 0 for none.
    """

    name: str
    ratio: bool
    least: float
    floor: float
    learning: int

    def on_scale(self, value: float) -> float:
        """A value on the scale on which rounds are compared."""
        raised = max(value, self.floor)
        return math.log(raised) if self.ratio else raised

    def off_scale(self, at: float) -> float:
        """The value that stands there."""
        return math.exp(at) if self.ratio else at

    @property
    def least_on_scale(self) -> float:
        """The smallest change that matters, on the scale."""
        return math.log(self.least) if self.ratio else self.least


FIGURES = {
    figure.name: figure
    for figure in (
        Figure("norm", ratio=True, least=1.5, floor=1e-9, learning=-1),
        Figure("seconds", ratio=True, least=1.5, floor=1.0, learning=0),
        Figure("examples", ratio=True, least=1.1, floor=1.0, learning=0),
        Figure("loss", ratio=True, least=1.25, floor=0.01, learning=-1),
        *(Figure(merit, ratio=False, least=0.05, floor=0.0, learning=1) for merit in MERITS),
    )
}
Place = tuple[str, str]  # site, figure


@dataclass(frozen=True)
class Finding:
    """A figure outside of what its site's own earlier rounds lead to expect.

    Attributes:
        usual, low, high: what those rounds lead to expect, and how far from it a value may lie.
        since: the first of the rounds in a row in which it was unusual.
        alike: the others moved alike, so it is the round's and not the site's; it is then not called unusual.
    """

    site: str
    figure: str
    round: int
    value: float
    usual: float
    low: float
    high: float
    since: int
    alike: bool


@dataclass(frozen=True)
class _Move:
    """How far a value lies from the usual, and how far it may; both on the scale."""

    value: float
    centre: float
    limit: float

    @property
    def distance(self) -> float:
        return self.value - self.centre

    def is_beyond(self, shift: float = 0.0) -> bool:
        """Whether it goes too far in its own direction, beyond what moved all."""
        return math.copysign(1.0, self.distance) * (self.distance - shift) > self.limit


class Habits:
    """What every site is used to, from the records of a journal as they come.

    Attributes:
        unusual: by site and figure, what is unusual in the last committed round in which the site took part.
        values: by site and figure, those of the last committed round.
    """

    def __init__(self) -> None:
        self.unusual: dict[Place, Finding] = {}
        self.values: dict[Place, float] = {}
        self._earlier: dict[Place, deque[float]] = {}  # on the scale, the newest last
        self._here: dict[Place, float] = {}
        self._round, self._model = 0, ""

    def take(self, record: Record) -> tuple[Finding, ...]:
        """Take in the next record; the end of a round gives what was found in it, the round's own moves included."""
        match record:
            case RoundOpened():
                if record.round != self._round:  # else it is opened anew, and what was said of it holds
                    self._here = {}
                self._round, self._model = record.round, record.model_digest
            case UpdateReady() if record.round == self._round and record.late_from is None:
                self._note(record.site, self._figures_of(record))
            case UpdateAdmitted() if record.round == self._round and record.late_from is None:
                self._note(record.site, {"norm": record.norm})
            case RoundCommitted():
                return self._close()
        return ()

    def _figures_of(self, report: UpdateReady) -> dict[str, float]:
        found: dict[str, float] = {"examples": report.examples} if report.examples else {}  # 0: withheld
        if "train" in report.seconds and not report.replayed:  # else the seconds are of another time
            found["seconds"] = report.seconds["train"]
        for score in report.scores:
            here = (score.split, score.model_digest) == ("validation", self._model)
            if here and score.patients >= FEWEST_PATIENTS:
                found |= {name: score.figures[name] for name in ("loss", *MERITS) if name in score.figures}
        return found

    def _note(self, site: str, figures: Mapping[str, float]) -> None:
        """What is said first of a round stays."""
        for name, value in figures.items():
            self._here.setdefault((site, name), value)

    def _close(self) -> tuple[Finding, ...]:
        moves = {place: move for place in self._here if (move := self._move(place))}
        found = [finding for place, move in sorted(moves.items()) if (finding := self._judged(place, move, moves))]
        for place, value in self._here.items():
            self.unusual.pop(place, None)
            self._earlier.setdefault(place, deque(maxlen=MOST_ROUNDS)).append(FIGURES[place[1]].on_scale(value))
        self.unusual |= {(finding.site, finding.figure): finding for finding in found if not finding.alike}
        self.values, self._here = self._here, {}
        return tuple(found)

    def _move(self, place: Place) -> _Move | None:
        earlier, figure = self._earlier.get(place, ()), FIGURES[place[1]]
        if len(earlier) < FEWEST_ROUNDS:
            return None
        slope = _slope(list(earlier)) if figure.learning else 0.0
        level = [value - slope * n for n, value in enumerate(earlier)]
        spread = _MAD_TO_SD * median(abs(value - median(level)) for value in level)
        limit = max((WIDTH_OF_LINE if figure.learning else WIDTH) * spread, figure.least_on_scale)
        value, end = figure.on_scale(self._here[place]), median(level) + slope * (len(level) - 1)
        return _Move(value, min(max(value, min(end, end + slope)), max(end, end + slope)), limit)

    def _judged(self, place: Place, move: _Move, moves: Mapping[Place, _Move]) -> Finding | None:
        """Rule 1, then rule 2."""
        if not move.is_beyond():
            return None
        (site, name), figure = place, FIGURES[place[1]]
        others = [m.distance for (other, kind), m in moves.items() if kind == name and other != site]
        alike = len(others) >= FEWEST_OTHERS and not move.is_beyond(median(others))
        learns = len(others) < FEWEST_OTHERS and move.distance * figure.learning > 0
        before = self.unusual.get(place)
        return Finding(
            site=site,
            figure=name,
            round=self._round,
            value=self._here[place],
            usual=figure.off_scale(move.centre),
            low=figure.off_scale(move.centre - move.limit),
            high=figure.off_scale(move.centre + move.limit),
            since=before.since if before else self._round,
            alike=alike or learns,
        )


def _slope(values: Sequence[float]) -> float:
    """Per round, the median of the slopes between all pairs (Sen, J Am Stat Assoc 63, 1968)."""
    pairs = itertools.combinations(enumerate(values), 2)
    return median((later - value) / (m - n) for (n, value), (m, later) in pairs)
