"""Whether the final model serves every site: each site beside all the others, and whether they differ at all.

Of test patients, or of validation patients where no test patient was scored, never of both. How chance is
told from a difference is decided in `server/report/chance.py`. A site that cannot be compared says why; its
patients still stand among the others of every other site.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypedDict

from server.report.chance import Area, Difference, Heterogeneity, difference, gap_by_chance, heterogeneity, holm
from server.report.scores import KEPT, Estimate, Scores, site_score
from server.report.words import sites_in_order
from shared import metrics
from shared.metrics import Merit, Score, Thresholds
from shared.tasks import Task

LONELY = "fewer than two sites can be compared"
LEVEL = 0.05  # of every test here
OTHERS = "the other sites together cannot be compared with"


class Extremes(TypedDict):
    """The best and the worst site, and the gap between them."""

    best: str | None
    worst: str | None
    gap: float | None


@dataclass(frozen=True)
class SiteFairness:
    """One site and the final model.

    Attributes:
        merit: its AUROC or other figure of merit, as the site released it.
        others: pooled, that of all other sites' patients.
        versus: the site less the others; None if `why` says so.
        p_holm: `versus.p` adjusted for the number of sites that are compared.
        at_threshold: the site's figures at the federation's threshold; empty where there is none.
    """

    site: str
    patients: int
    merit: Estimate
    others: float | None = None
    versus: Difference | None = None
    p_holm: float | None = None
    why: str | None = None
    at_threshold: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fairness:
    """All sites that scored the final model.

    Attributes:
        best, worst: the sites with the highest and the lowest figure, of those that are compared; of all where
            fewer than two are; None if fewer than two have one.
        gap: between these two.
        gap_by_chance: what the gap would be on average if the compared sites did not differ.
        compared: how many sites could be compared.
        heterogeneity: of those; None if `why` says so.
    """

    split: Literal["validation", "test"]
    sites: tuple[SiteFairness, ...]
    best: str | None = None
    worst: str | None = None
    gap: float | None = None
    gap_by_chance: float | None = None
    compared: int = 0
    heterogeneity: Heterogeneity | None = None
    why: str | None = None

    @property
    def apart(self) -> tuple[str, ...]:
        """The sites that differ from all others by more than chance, after Holm's adjustment."""
        return tuple(site.site for site in self.sites if site.p_holm is not None and site.p_holm < LEVEL)

    @property
    def differ(self) -> bool:
        """Whether the sites as a whole differ by more than chance."""
        return self.heterogeneity is not None and self.heterogeneity.p < LEVEL

    @property
    def worst_merit(self) -> float | None:
        """The figure of the worst site."""
        return self._merit(self.worst)

    @property
    def best_merit(self) -> float | None:
        """The figure of the best site."""
        return self._merit(self.best)

    def _merit(self, name: str | None) -> float | None:
        return next((site.merit.value for site in self.sites if site.site == name), None)


def fairness_of(task: Task, validation: Scores, test: Scores, cuts: Thresholds | None) -> Fairness:
    """The final model over the sites; `cuts` are the thresholds that the validation patients chose."""
    scores = test or validation
    areas = {
        site: area
        for site, score in scores.items()
        if (area := _area(_figures(task, score), task.merit)) and not area.fault
    }
    sites = _adjusted([_site(task, site, scores, areas, cuts if test else None) for site in sites_in_order(scores)])
    compared, enough = list(areas.values()), len(areas) > 1
    return Fairness(
        split="test" if test else "validation",
        sites=sites,
        **_extremes(sites),
        gap_by_chance=gap_by_chance(compared) if enough else None,
        compared=len(areas),
        heterogeneity=heterogeneity(compared) if enough else None,
        why=None if enough else LONELY,
    )


def _site(task: Task, site: str, scores: Scores, areas: Mapping[str, Area], cuts: Thresholds | None) -> SiteFairness:
    shown, figures = site_score(task, scores[site]), _figures(task, scores[site])
    rest = _figures(task, *(score for name, score in scores.items() if name != site))
    own, others = _area(figures, task.merit), _area(rest, task.merit)
    fault = own.fault if own else shown.merit.why if scores[site].statistics else KEPT
    if fault is None and (others is None or others.fault):
        fault = OTHERS
    return SiteFairness(
        site=site,
        patients=shown.patients,
        merit=shown.merit,
        others=rest.get(task.merit),
        versus=difference(own, others) if own and others and fault is None else None,
        why=fault,
        at_threshold=task.figures_at(scores[site].statistics, cuts) if cuts else {},
    )


def _figures(task: Task, *scores: Score) -> dict[str, float]:
    return task.figures(metrics.add(score.statistics for score in scores)) if scores else {}


def _area(figures: Mapping[str, float], merit: Merit) -> Area | None:
    if f"{merit}_error" not in figures:
        return None
    return Area(figures[merit], figures[f"{merit}_error"], int(figures[f"{merit}_fewest"]))


def _adjusted(sites: Sequence[SiteFairness]) -> tuple[SiteFairness, ...]:
    """The sites with their p values adjusted for how many they are."""
    adjusted = iter(holm([site.versus.p for site in sites if site.versus]))
    return tuple(replace(site, p_holm=next(adjusted)) if site.versus else site for site in sites)


def _extremes(sites: Sequence[SiteFairness]) -> Extremes:
    """The first of the highest and of the lowest, of those compared if there are two; none if all are alike."""
    shown = {site.site: site.merit.value for site in sites if site.merit.value is not None}
    compared = {site.site: shown[site.site] for site in sites if site.versus and site.site in shown}
    known = compared if len(compared) > 1 else shown
    if len(known) < 2:
        return {"best": None, "worst": None, "gap": None}
    best, worst = max(known, key=lambda site: known[site]), min(known, key=lambda site: known[site])
    if best == worst:
        return {"best": None, "worst": None, "gap": 0.0}
    return {"best": best, "worst": worst, "gap": known[best] - known[worst]}
