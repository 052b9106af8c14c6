"""What was spent, in words, for 80 columns and for programs: the verdict first, then each field with its charge."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.audit.accounting import epsilon_of_runs
from deploy.audit.spending import Spent, StudySpending
from deploy.audit.words import counted
from shared.console import facts, printable, table
from shared.errors import TrustError

USUAL_DELTA = 1e-6
_SHOWN = 5  # of what is uncovered; --json has all
_NOT_RELEASED = ("patients", "examples", "counts", "scores.validation", "scores.test", "seconds")


def budget_data(found: Spent, *, delta: float | None) -> dict[str, Any]:
    """For a program; `delta` is the one to compose at, without it the site's last."""
    at = delta or found.delta or USUAL_DELTA
    return {
        "epsilon": epsilon_of_runs(found.history, delta=at),
        "delta": at,
        "unit": "patient",
        "history": [asdict(run) for run in found.history],
        "studies": [_study(one, at) for one in found.studies.values()],
        "uncovered": [asdict(one) for one in found.uncovered],
        "understated": found.understated(),
        "not_private": dict(found.others),
        "refused_without_contract": dict(found.refusals),
        "reconciled": [{"entry": n, "by": by, "why": why} for n, (by, why) in found.brought_into_step.items()],
    }


def budget_failure(data: dict[str, Any]) -> TrustError | None:
    """Why the answer is no, if it is."""
    if data["uncovered"]:
        first = data["uncovered"][0]
        return TrustError(
            f"{len(data['uncovered'])} times something left a private study without a charge; first at entry"
            f" {first['entry']}, round {first['round']} of {first['study']}: {first['field']}.",
            remedy="Ask the site what it released there; the epsilon does not cover it.",
        )
    if data["understated"]:
        return TrustError(
            f"The site charged less than its own entries cost, in {', '.join(data['understated'])}.",
            remedy="Have the site reconcile its budget, and ask how it came to its figure.",
        )
    return None


def budget_page(data: dict[str, Any], *, file: str, checked: str) -> RenderableType:
    """For a person; `checked` says what was of the ledger itself."""
    error, private = budget_failure(data), bool(data["studies"])
    epsilon = f"{data['epsilon']:.2f} at delta {data['delta']:g}, of a patient who was in every round"
    about = {
        "Ledger": file,
        "Checked": checked,
        "Epsilon": epsilon if private else "",
        "Computed": "from the ledger's entries, in Renyi DP by dp-accounting" if private else "",
        "Not private": _listed(data["not_private"], "release", "releases", ", no epsilon"),
        "No contract": _listed(data["refused_without_contract"], "refusal", "refusals", ": not yet, or no"),
        "Reconciled": ", ".join(f"entry {one['entry']}, by {one['by']}" for one in data["reconciled"]),
    }
    parts: list[RenderableType] = [
        Text(
            printable(error.what if error else _verdict(private)),
            style=_style(error, private and data["signatures_checked"]),
        ),
        Text(),
        facts({name: printable(text) for name, text in about.items() if text}),
    ]
    for study in data["studies"]:
        rows = ((one["field"], one["released"], one["charge"]) for one in study["fields"])
        parts += [Text(f"\n{printable(study['study'])}"), table(("field", "left", "charge"), rows)]
    left = data["uncovered"][:_SHOWN]
    if left:
        lines = {f"entry {one['entry']}": printable(f"{one['field']}, round {one['round']}") for one in left}
        parts += [Text("\nWithout a charge", style="bold"), facts(lines)]
    return Group(*parts)


def _listed(studies: dict[str, int], one: str, several: str, more: str) -> str:
    return ", ".join(f"{name} ({counted(n, one, several)}{more})" for name, n in studies.items())


def _verdict(private: bool) -> str:
    if not private:
        return "no study in this ledger is private: what left has no epsilon"
    return "by the ledger's entries, every number that left a private study was charged"


def _style(error: TrustError | None, shown: bool) -> str:
    return "bold red" if error else "bold green" if shown else "bold"


def _study(one: StudySpending, delta: float) -> dict[str, Any]:
    epsilon = epsilon_of_runs(one.runs, delta=delta)
    charged = f"{one.charged} rounds, epsilon {epsilon:.2f}" if one.charged else "none"
    fields = [{"field": "update", "released": len(one.updates), "charge": charged}]
    names = [*_NOT_RELEASED, *sorted({*one.told, *one.leaves} - {*_NOT_RELEASED, "update"})]
    fields += [{"field": name, "released": one.told[name], "charge": _charge_of(name, one)} for name in names]
    return {
        "study": one.study,
        "study_digest": one.study_digest,
        "reserved": one.reserved,
        "charged": one.charged,
        "returned": one.returned,
        "updates": len(one.updates),
        "epsilon": epsilon,
        "claimed_epsilon": one.claimed,
        "fields": fields,
    }


def _charge_of(name: str, one: StudySpending) -> str:
    if one.told[name]:
        return "none"
    return "none, and it may leave" if name in one.leaves else "may not leave"
