"""Each site's watched figures over the rounds, and what was unusual among them; the rule is `server/drift.py`."""

from collections.abc import Iterable
from dataclasses import dataclass

from server.drift import FIGURES, Finding, Habits, Place
from server.records import RoundCommitted
from server.report.evidence import Evidence
from server.report.words import sites_in_order


@dataclass(frozen=True)
class Watched:
    """One figure of one site, by round."""

    site: str
    figure: str
    values: dict[int, float]


@dataclass(frozen=True)
class Drift:
    """Attributes:
    watched: by site and, within a site, in the order of `FIGURES`.
    findings: what lay outside of the usual, the moves of whole rounds included, in the order of rounds.
    """

    watched: tuple[Watched, ...]
    findings: tuple[Finding, ...]

    @property
    def unusual(self) -> tuple[tuple[Finding, ...], ...]:
        """What was unusual at single sites, rounds in a row drawn together."""
        spells: dict[tuple[str, str, int], list[Finding]] = {}
        for found in self.findings:
            if not found.alike:
                spells.setdefault((found.site, found.figure, found.since), []).append(found)
        return tuple(tuple(spell) for spell in spells.values())

    @property
    def moves(self) -> dict[str, tuple[int, ...]]:
        """By figure, the rounds in which sites that moved had moved as all did."""
        alike = {(finding.figure, finding.round) for finding in self.findings if finding.alike}
        rounds = {name: tuple(sorted(number for figure, number in alike if figure == name)) for name in FIGURES}
        return {name: numbers for name, numbers in rounds.items() if numbers}


def drift_of(evidence: Evidence) -> Drift:
    """What the journal says of each site's figures."""
    habits, findings, values = Habits(), list[Finding](), dict[Place, dict[int, float]]()
    for _, record in evidence.records:
        findings += habits.take(record)
        if isinstance(record, RoundCommitted):
            for place, value in habits.values.items():
                values.setdefault(place, {})[record.round] = value
    return Drift(tuple(Watched(*place, values[place]) for place in _in_order(values)), tuple(findings))


def _in_order(places: Iterable[Place]) -> list[Place]:
    known = set(places)
    sites = sites_in_order({site for site, _ in known})
    return [(site, figure) for site in sites for figure in FIGURES if (site, figure) in known]
