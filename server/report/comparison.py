"""Two studies side by side: what was asked otherwise, and what came of each.

Nothing is tested here: two studies share patients, so their intervals say how sure each figure is, not
whether they differ. A setting is one key of the study file, its default included.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from server.pooling import How
from server.report.evidence import Evidence
from server.report.facts import Facts, facts_of
from server.report.scores import Estimate
from server.report.words import by_name
from shared.metrics import Merit

IDENTITY = ("study.name", "study.description")  # these always differ, and change nothing


@dataclass(frozen=True)
class Setting:
    """A key of the study file on which the two differ; None where it is not set."""

    key: str
    a: Any
    b: Any


@dataclass(frozen=True)
class Side:
    """What came of one study.

    Attributes:
        counted, seats: in how many of the sites' seats, over all rounds, an update counted.
        patients: those of all sites that train; None if they are withheld.
        update_bytes: what the server received of updates.
        seconds: from the first entry of the journal to the last; None before the first.
        round_seconds: the median of the committed rounds.
        model_digest: the final model, the last committed one unless another was chosen.
        model_round: the rounds behind it.
        validation_how, test_how: whether the figure of all sites is pooled, or a mean of their own.
        worst_site, worst_merit, gap: the site that the final model serves worst, and how far the best one lies
            above it, on test patients, or on validation patients where no test patient was scored.
    """

    study: str
    measure: Merit
    state: str
    rounds: int
    rounds_planned: int
    sites: int
    counted: int
    seats: int
    patients: int | None
    validation: Estimate
    test: Estimate
    validation_how: How
    test_how: How
    worst_site: str | None
    worst_merit: float | None
    gap: float | None
    update_bytes: int
    seconds: float | None
    round_seconds: float | None
    model_digest: str | None
    model_round: int


@dataclass(frozen=True)
class Comparison:
    """Two studies; `same_model` says that their final models are equal byte for byte."""

    a: Side
    b: Side
    differ: tuple[Setting, ...]
    same_model: bool


def compared(a: Evidence, b: Evidence) -> Comparison:
    """Hold two studies against each other, whatever has become of either."""
    one, other = side_of(facts_of(a)), side_of(facts_of(b))
    same = one.model_digest is not None and one.model_digest == other.model_digest
    return Comparison(one, other, settings_that_differ(a, b), same)


def in_json(found: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    sides = {name: asdict(side, dict_factory=by_name(side.measure)) for name, side in (("a", found.a), ("b", found.b))}
    return asdict(found) | sides


def settings_that_differ(a: Evidence, b: Evidence) -> tuple[Setting, ...]:
    """The keys on which two study files do not say the same, in the order of the file."""
    one, other = (dict(_keys(study.model_dump(mode="json"))) for study in (a.study, b.study))
    names = [name for name in one | other if name not in IDENTITY and one.get(name) != other.get(name)]
    return tuple(Setting(name, one.get(name), other.get(name)) for name in names)


def side_of(facts: Facts) -> Side:
    """One study's figures."""
    seats = [seat for opened in facts.rounds for seat in opened.seats.values()]
    seconds = [opened.seconds for opened in facts.rounds if opened.seconds is not None]
    return Side(
        study=facts.about.name,
        measure=facts.about.measure,
        state=facts.about.state,
        rounds=facts.about.rounds_committed,
        rounds_planned=facts.about.rounds_planned,
        sites=len(facts.sites),
        counted=sum(seat.state == "counted" for seat in seats),
        seats=len(seats),
        patients=facts.patients.get("train"),
        validation=facts.validation.merit,
        test=facts.test.merit,
        validation_how=facts.validation.how,
        test_how=facts.test.how,
        worst_site=facts.fairness.worst,
        worst_merit=facts.fairness.worst_merit,
        gap=facts.fairness.gap,
        update_bytes=sum(site.work.update_bytes for site in facts.sites),
        seconds=facts.about.seconds,
        round_seconds=median(seconds) if seconds else None,
        model_digest=facts.integrity.model_digest,
        model_round=facts.integrity.model_round,
    )


def _keys(values: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _keys(value, f"{before}{name}.")
        else:
            yield before + name, value
