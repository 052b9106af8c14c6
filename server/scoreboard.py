"""The scoreboard: who scored which model on validation patients, and the models' pooled figures.

The scores that come with the updates of round r are of the model that entered it, the one after round r - 1; they
stand once the round is committed, unless the site's update was refused.
A score is kept small, because a study may have thousands; how models compare is `server/selection.py`'s.
"""

import json
import zlib
from collections.abc import Iterable

from server.journal import record_of
from server.record import Record
from server.records import RECORDS, RoundCommitted, SiteValidated, UpdateReady
from server.selection import Standing, candidates_of
from shared import metrics
from shared.ledger import Entry
from shared.metrics import Score
from shared.selection import Metric
from shared.tasks import Statistics, Task


class Scoreboard:
    """What the entries of a journal say of each model.

    Args:
        task: makes figures of pooled statistics.
        metric: the figure by which models compare.
    """

    def __init__(self, task: Task, metric: Metric) -> None:
        self._task = task
        self._metric = metric
        self._scores: dict[int, dict[str, bytes]] = {}  # by model, by site
        self._offered: dict[str, tuple[Score, ...]] = {}  # by site, in the round that is not committed yet
        self._figures: dict[int, float | None] = {}  # of `_cohort`
        self._cohort: frozenset[str] = frozenset()

    def add(self, entries: Iterable[Entry]) -> None:
        """Take in the entries that were added; raises `ProtocolError` for one of another version."""
        for entry in entries:
            if entry.type in RECORDS:
                self.take(record_of(entry))

    def take(self, record: Record) -> None:
        """Take in one record."""
        match record:
            case UpdateReady():
                self._offered[record.site] = record.scores
            case RoundCommitted():
                for site, scores in self._offered.items():
                    if site not in record.refused:
                        self._put(record.round - 1, site, scores)
                self._offered = {}
            case SiteValidated():
                self._put(record.model, record.site, record.scores)

    def standing(self, *, through: int) -> Standing:
        """How the models up to that after round `through` compare."""
        cohort, models = candidates_of({m: by.keys() for m, by in self._scores.items() if m <= through})
        if cohort != self._cohort:
            self._cohort, self._figures = cohort, {}
        return Standing(tuple(sorted(cohort)), {model: self._figure(model) for model in models})

    def _put(self, model: int, site: str, scores: Iterable[Score]) -> None:
        for score in scores:
            if score.split == "validation":
                self._scores.setdefault(model, {})[site] = _packed(score.statistics)
                self._figures.pop(model, None)

    def _figure(self, model: int) -> float | None:
        if model not in self._figures:
            scores = self._scores[model]
            pooled = metrics.add(_unpacked(scores[site]) for site in sorted(self._cohort))
            self._figures[model] = self._task.figures(pooled).get(self._metric)
        return self._figures[model]


def _packed(statistics: Statistics) -> bytes:
    """Histograms are nearly all zeros."""
    return zlib.compress(json.dumps(statistics).encode())


def _unpacked(packed: bytes) -> Statistics:
    return {name: tuple(values) for name, values in json.loads(zlib.decompress(packed)).items()}
