"""What privacy a site's ledger says was spent, and whether everything that left a private study was paid for.

A study is private if its contract says so, or its rounds were reserved or charged. In it

1. an update that leaves for the first time takes up one charge, of its round or of an earlier one, written before
   it; a charge pays for one update, and an update that leaves again is the same one;
2. nothing else that follows from the data leaves: what a release tells beside its update stands in its entry, and what
   may be told at all in the contract's;
3. what the site said that its dearest patient came to is no less than what the study's own charges cost.

What breaks 1 or 2 is uncovered. Pure, over entries whose chain others check; costs are `accounting.py`'s.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from deploy.audit.accounting import Run, epsilon_of_runs
from shared.chain import Entry

SILENT = "the entry does not say what left beside the update"
ALLOWED_ERROR = 0.01  # between the site's figure and this one: other orders of the same composition
_KINDS = ("budget_reserved", "privacy_spent", "budget_returned")


@dataclass
class StudySpending:
    """One private study, in rounds; `waiting` are the rounds of charges that no update has taken up.

    Attributes:
        charged: how many rounds were, by rounds that began and by reconciling.
        runs: what was charged, as it was; rounds of one reconciling together.
        leaves: what may leave by its contract.
        updates: digests of updates that left.
        told: what left beside updates, with how often.
        claimed, claimed_delta: what the site last said that the study's dearest patient came to.
    """

    study: str
    study_digest: str = ""
    reserved: int = 0
    returned: int = 0
    charged: int = 0
    leaves: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    updates: set[str] = field(default_factory=set)
    releases: int = 0
    told: Counter[str] = field(default_factory=Counter)
    claimed: float | None = None
    claimed_delta: float | None = None


@dataclass(frozen=True)
class Uncovered:
    """Something that left without a charge."""

    entry: int
    study: str
    round: int
    field: str


@dataclass
class Spent:
    """All that a ledger says of privacy.

    Attributes:
        studies: the private ones.
        uncovered: what broke rule 1 or 2.
        others: releases by study, of those that are not private.
        reconciled: who brought the budget into step, and why, by entry.
        delta: the last one that the site composed at.
    """

    studies: dict[str, StudySpending] = field(default_factory=dict)
    uncovered: list[Uncovered] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    reconciled: dict[int, tuple[str, str]] = field(default_factory=dict)
    delta: float | None = None

    @property
    def history(self) -> list[Run]:
        """What a patient paid who was in every round of every private study, equal steps together."""
        steps: Counter[Run] = Counter()
        for study in self.studies.values():
            for run in study.runs:
                steps[Run(run.noise_multiplier, run.sampling_rate, run.images_per_patient, 1)] += run.steps
        return [Run(one.noise_multiplier, one.sampling_rate, one.images_per_patient, n) for one, n in steps.items()]

    def understated(self) -> list[str]:
        """The studies that break rule 3."""
        return [one.study for one in self.studies.values() if one.claimed is not None and _cost(one) > one.claimed]


def spent(entries: Iterable[Entry]) -> Spent:
    """Take a ledger's entries through the module's rules."""
    found = Spent()
    for entry in entries:
        said = entry.data
        if entry.type in _KINDS:
            _charge(found, entry.type, said)
        elif entry.type == "budget_reconciled":
            _reconcile(found, entry)
        elif entry.type == "contract" and said.get("private"):
            _agree(found, entry)
        elif entry.type == "release":
            _release(found, entry)
    return found


def _study(found: Spent, said: dict[str, Any]) -> StudySpending:
    one = found.studies.setdefault(str(said["study"]), StudySpending(str(said["study"])))
    one.study_digest = str(said["study_digest"])
    return one


def _agree(found: Spent, entry: Entry) -> None:
    one = _study(found, entry.data)
    one.leaves = sorted(str(name) for name in entry.data.get("leaves", ()))
    for name in one.leaves:
        if name != "update":
            found.uncovered.append(Uncovered(entry.n, one.study, 0, name))


def _reconcile(found: Spent, entry: Entry) -> None:
    """Rounds that nobody else has an entry of; from now on the site's figure is that of everybody."""
    said = entry.data
    found.reconciled[entry.n] = str(said.get("by")), str(said.get("why"))
    for one in said.get("charged", ()):
        _charge_beyond(found, one)
    for study in found.studies.values():
        study.claimed, study.claimed_delta = said.get("lifetime_epsilon"), said.get("lifetime_delta")


def _charge_beyond(found: Spent, said: dict[str, Any]) -> None:
    one, rounds = _study(found, said), int(said["rounds"])
    numbers = (said[name] for name in ("noise_multiplier", "sampling_rate", "images_per_patient", "steps"))
    run = Run(*numbers)
    one.runs.append(replace(run, steps=run.steps * rounds))
    one.charged += rounds


def _charge(found: Spent, kind: str, said: dict[str, Any]) -> None:
    one = _study(found, said)
    if kind == "budget_reserved":
        one.reserved = int(said["rounds"])
    elif kind == "budget_returned":
        one.returned, one.reserved = one.returned + int(said["rounds"]), 0
    else:
        numbers = (said[name] for name in ("noise_multiplier", "sampling_rate", "images_per_patient", "steps"))
        one.runs.append(Run(*numbers))
        one.charged += 1
        one.waiting.append(int(said["round"]))
        one.claimed, one.claimed_delta = said.get("lifetime_epsilon"), said.get("lifetime_delta")
        found.delta = said.get("lifetime_delta", found.delta)


def _release(found: Spent, entry: Entry) -> None:
    said, study = entry.data, str(entry.data.get("study"))
    one = found.studies.get(study)
    if one is None:
        found.others[study] += 1
        return
    one.releases += 1
    number, update = int(said.get("round", 0)), said.get("update_digest")
    if update is not None and update not in one.updates:
        one.updates.add(update)
        paid = max((charged for charged in one.waiting if charged <= number), default=None)
        if paid is None:
            found.uncovered.append(Uncovered(entry.n, study, number, "update"))
        else:
            one.waiting.remove(paid)
    for name in said.get("tells", [SILENT]):
        one.told[str(name)] += 1
        found.uncovered.append(Uncovered(entry.n, study, number, str(name)))


def _cost(one: StudySpending) -> float:
    """What the study's charges cost by themselves, less what two sets of orders may differ by."""
    return epsilon_of_runs(one.runs, delta=one.claimed_delta or 1e-6) * (1 - ALLOWED_ERROR)
