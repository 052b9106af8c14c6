"""Each model on each site's held-out patients: a row for a model, a column for a site.

The models of a study are many; the rows are the start model, a few between, the final one and the last. Where
the study asked for it there is a second matrix, of the final model and the sites' own models.
All figures are AUROCs, or the task's other figure of merit, on validation patients, as the sites released them, with
intervals from their statistics.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from server.history import StudyHistory
from server.pooling import How, together
from server.report.scores import (
    NOBODY,
    Estimate,
    Scores,
    SiteScore,
    estimate_of,
    final_scores,
    how_of_all,
    site_score,
    validation_scores,
)
from server.report.words import model_after, sites_in_order
from shared.tasks import Task

MOST_MODELS = 6  # of the rounds between the first and the last


@dataclass(frozen=True)
class MatrixRow:
    """One model at every site.

    Attributes:
        model: the rounds behind it.
        of: whose own model of that round it is; None for a global model.
        role: what it is besides, such as the last one; empty if nothing.
        by_site: its figure on each site's patients.
        pooled: that on the patients of all sites that scored it, or the mean of the sites' own.
    """

    model: int
    role: str
    by_site: dict[str, SiteScore]
    pooled: Estimate
    of: str | None = None

    @property
    def name(self) -> str:
        """The model in words."""
        return f"the own model of {self.of}" if self.of else model_after(self.model)


@dataclass(frozen=True)
class Matrix:
    """Models by sites; `left_out` is how many models that were scored have no row, `how` says what `pooled` is."""

    sites: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    left_out: int
    how: How = "pooled"


def matrix_of(task: Task, history: StudyHistory, sites: Sequence[str]) -> Matrix | None:
    """The matrix of the global models; None where fewer than two sites scored any."""
    scores = validation_scores(history)
    scores[history.final_round] = final_scores(history, "validation")
    known = {number: by_site for number, by_site in sorted(scores.items()) if by_site}
    columns = tuple(site for site in sites if any(site in by_site for by_site in known.values()))
    if len(columns) < 2:
        return None
    shown = rows_shown(list(known), final=history.final_round)
    how = how_of_all(known)
    rows = tuple(_row(task, number, known[number], columns, how, role=_role(number, history)) for number in shown)
    return Matrix(columns, rows, len(known) - len(rows), how)


def own_matrix_of(task: Task, history: StudyHistory, sites: Sequence[str]) -> Matrix | None:
    """The matrix of the final model and the sites' own models; None where no own model was scored."""
    by_owner: dict[str, Scores] = {}
    for said in history.own_scores:
        for score in said.scores:
            by_owner.setdefault(said.of, {})[said.site] = score
    if not by_owner:
        return None
    last, final = history.last_round, final_scores(history, "validation")
    how = how_of_all(dict(enumerate([final, *by_owner.values()])))
    own = (_row(task, last, by_owner[of], sites, how, role="", of=of) for of in sites_in_order(by_owner))
    first = _row(task, history.final_round, final, sites, how, role="final")
    return Matrix(tuple(sites), (first, *own), left_out=0, how=how)


def rows_shown(models: Sequence[int], *, final: int) -> list[int]:
    """The first and the last of these models, the final one, and a few evenly between."""
    last = len(models) - 1
    steps = min(MOST_MODELS + 1, last) or 1
    places = {round(step * last / steps) for step in range(steps + 1)}
    return sorted({models[place] for place in places} | ({final} & set(models)))


def _row(
    task: Task, number: int, scores: Scores, sites: Sequence[str], how: How, *, role: str, of: str | None = None
) -> MatrixRow:
    by_site = {site: site_score(task, scores.get(site)) for site in sites}
    return MatrixRow(number, role, by_site, _all(task, scores, how), of)


def _all(task: Task, scores: Scores, how: How) -> Estimate:
    return estimate_of(task, together(task, scores, how=how)) if scores else Estimate(why=NOBODY)


def _role(number: int, history: StudyHistory) -> str:
    if history.chosen is not None and number == history.final_round:
        return "chosen"
    return "last" if number == history.last_round and number else ""
