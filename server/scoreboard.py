"""The scoreboard: who scored which model on validation patients, and the models' figures over these sites.

The scores that come with the updates of round r are of the model that entered it, the one after round r - 1; they
stand once the round is committed, unless the site's update was refused. A score without any figure is none.
A score is kept small, because a study may have thousands; how models compare is `server/selection.py`'s.
"""

import zlib
from collections.abc import Iterable

from server.journal import record_of
from server.pooling import How, tells, together
from server.record import Record
from server.records import RECORDS, RoundCommitted, SiteValidated, UpdateReady
from server.selection import Standing, candidates_of
from shared.ledger import Entry
from shared.metrics import Score
from shared.selection import Metric
from shared.tasks import Task


class Scoreboard:
    """What the entries of a journal say of each model.

    Args:
        task: makes figures of statistics.
        metric: the figure by which models compare.
    """

    def __init__(self, task: Task, metric: Metric) -> None:
        self._task = task
        self._metric = metric
        self._scores: dict[int, dict[str, bytes]] = {}  # by model, by site
        self._offered: dict[str, tuple[Score, ...]] = {}  # by site, in the round that is not committed yet
        self._coarse: set[tuple[int, str]] = set()  # model and site, whose statistics the site keeps
        self._figures: dict[int, float | None] = {}  # of `_cohort`, made as `_how` says
        self._cohort: frozenset[str] = frozenset()
        self._how: How = "pooled"

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
        how: How = "mean" if any((m, site) in self._coarse for m in models for site in cohort) else "pooled"
        if (cohort, how) != (self._cohort, self._how):
            self._cohort, self._how, self._figures = cohort, how, {}
        return Standing(tuple(sorted(cohort)), {model: self._figure(model) for model in models}, how)

    def _put(self, model: int, site: str, scores: Iterable[Score]) -> None:
        for score in scores:
            if score.split == "validation" and tells(score):
                self._scores.setdefault(model, {})[site] = zlib.compress(score.model_dump_json().encode())
                self._coarse -= {(model, site)}
                self._coarse |= set() if score.statistics else {(model, site)}
                self._figures.pop(model, None)

    def _figure(self, model: int) -> float | None:
        if model not in self._figures:
            packed = self._scores[model]  # histograms are nearly all zeros
            scores = {site: Score.model_validate_json(zlib.decompress(packed[site])) for site in sorted(self._cohort)}
            self._figures[model] = together(self._task, scores, how=self._how).figures.get(self._metric)
        return self._figures[model]
