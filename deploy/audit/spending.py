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
from deploy.audit.reading import as_count, as_list, as_number, as_share, as_text, in_form
from shared.chain import Entry

SILENT = "the entry does not say what left beside the update"
ALLOWED_ERROR = 0.01  # between the site's figure and this one: other orders of the same composition
_MOST_ROUNDS = 1_000_000  # in one reconciling
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
        refusals: answers by study that only say no, or not yet, under no contract.
        early: by study, the first update that left before the study was called private.
        brought_into_step: who brought the budget into step, and why, by entry.
        delta: the last one that the site composed at.
    """

    studies: dict[str, StudySpending] = field(default_factory=dict)
    uncovered: list[Uncovered] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    early: dict[str, Uncovered] = field(default_factory=dict)
    brought_into_step: dict[int, tuple[str, str]] = field(default_factory=dict)
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
    """Take a ledger's entries through the module's rules.

    Raises:
        TrustError: an entry about the budget is not in its form.
    """
    found = Spent()
    for entry in entries:
        with in_form("the ledger", entry):
            _take(found, entry)
    return found


def _take(found: Spent, entry: Entry) -> None:
    said = entry.data
    if entry.type in _KINDS:
        _charge(found, entry.type, said)
    elif entry.type == "budget_reconciled":
        _bring_into_step(found, entry)
    elif entry.type == "contract" and said.get("private"):
        _agree(found, entry)
    elif entry.type == "release":
        _release(found, entry)
    elif entry.type == "release_repeated":
        _repeat(found, said)


def _study(found: Spent, said: dict[str, Any]) -> StudySpending:
    name = as_text(said["study"])
    if name not in found.studies:
        found.studies[name] = StudySpending(name)
        found.uncovered += [found.early[name]] if name in found.early else []
    one = found.studies[name]
    one.study_digest = as_text(said["study_digest"])
    return one


def _agree(found: Spent, entry: Entry) -> None:
    one = _study(found, entry.data)
    one.leaves = sorted(map(as_text, as_list(entry.data.get("leaves", []))))
    for name in one.leaves:
        if name != "update":
            found.uncovered.append(Uncovered(entry.n, one.study, 0, name))


def _bring_into_step(found: Spent, entry: Entry) -> None:
    """Rounds that nobody else has an entry of; from now on the site's figure is that of everybody."""
    said = entry.data
    found.brought_into_step[entry.n] = str(said.get("by")), str(said.get("why"))
    for one in as_list(said.get("charged", [])):
        _charge_beyond(found, one)
    for study in found.studies.values():
        study.claimed, study.claimed_delta = _claimed(said)


def _charge_beyond(found: Spent, said: dict[str, Any]) -> None:
    """The last of these rounds is known; an update of one may still lie in the spool, and leave later."""
    one, rounds, last = _study(found, said), as_count(said["rounds"]), as_count(said["last_round"])
    if not 1 <= rounds <= _MOST_ROUNDS:
        raise ValueError
    run = _run(said)
    one.runs.append(replace(run, steps=run.steps * rounds))
    one.charged += rounds
    one.waiting += range(last - rounds + 1, last + 1)


def _charge(found: Spent, kind: str, said: dict[str, Any]) -> None:
    one = _study(found, said)
    if kind == "budget_reserved":
        one.reserved = as_count(said["rounds"])
    elif kind == "budget_returned":
        one.returned, one.reserved = one.returned + as_count(said["rounds"]), 0
    else:
        one.runs.append(_run(said))
        one.charged += 1
        one.waiting.append(as_count(said["round"]))
        one.claimed, one.claimed_delta = _claimed(said)
        found.delta = one.claimed_delta or found.delta


def _run(said: dict[str, Any]) -> Run:
    noise, rate = as_number(said["noise_multiplier"]), as_number(said["sampling_rate"])
    return Run(noise, rate, as_count(said["images_per_patient"]), as_count(said["steps"]))


def _claimed(said: dict[str, Any]) -> tuple[float | None, float | None]:
    """The site's own figure and its delta, where it gives them."""
    epsilon, delta = said.get("lifetime_epsilon"), said.get("lifetime_delta")
    return None if epsilon is None else as_number(epsilon), None if delta is None else as_share(delta)


def _release(found: Spent, entry: Entry) -> None:
    said, study = entry.data, str(entry.data.get("study"))
    one, number, update = found.studies.get(study), as_count(said.get("round", 0)), said.get("update_digest")
    if one is None and _only_refuses(said):
        found.refusals[study] += 1
        return
    if one is None:
        found.others[study] += 1
        if update is not None:
            found.early.setdefault(study, Uncovered(entry.n, study, number, "update"))
        return
    one.releases += 1
    if update is not None and as_text(update) not in one.updates:
        one.updates.add(update)
        paid = max((charged for charged in one.waiting if charged <= number), default=None)
        if paid is None:
            found.uncovered.append(Uncovered(entry.n, study, number, "update"))
        else:
            one.waiting.remove(paid)
    for name in map(as_text, as_list(said.get("tells", [SILENT]))):
        one.told[name] += 1
        found.uncovered.append(Uncovered(entry.n, study, number, name))


def _repeat(found: Spent, said: dict[str, Any]) -> None:
    study = str(said.get("study"))
    if study not in found.studies and study not in found.others:  # behind a contract it is no more than that says
        found.refusals[study] += as_count(said["count"])


def _only_refuses(said: dict[str, Any]) -> bool:
    """Whether a release is a refusal under no contract, which tells nothing that follows from the data."""
    nothing = said.get("contract") is None and said.get("update_digest") is None and said.get("tells") == []
    return said.get("kind") == "refused" and nothing


def _cost(one: StudySpending) -> float:
    """What the study's charges cost by themselves, less what two sets of orders may differ by."""
    return epsilon_of_runs(one.runs, delta=one.claimed_delta or 1e-6) * (1 - ALLOWED_ERROR)
