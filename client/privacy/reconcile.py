"""A budget that is not in step with its ledger is built anew from the ledger, as an upper bound.

Nobody knows any more who was in which round, so every patient of the site, known or not, is charged with

1. all that the ledger says, and the rounds of which only the budget knows;
2. in each study the rounds up to the one that the coordinator claims (`client/privacy/claims.py`), but no further than
   was ever reserved for it here: a lie costs no more than the site had agreed to;
3. where the ledger has lost its end, all rounds that were reserved when the end began, whatever anybody says: nobody's
   word lowers a charge. The loss is declared in the ledger then (`client/privacy/lost_tail.py`).

Whatever was reserved lapses: an open study is opened anew by the coordinator, and reserves again. What cannot be
known is how often a round that is missing in the ledger had begun; each is charged once. A study that was opened and
ended within the lost end is known to its coordinator alone. Ledgers are held against journals by another command,
`wardround audit reconcile`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.privacy.budget import Account, Budget, times, together
from client.privacy.budget_file import (
    CHARGED,
    RECONCILED,
    RESERVED,
    BudgetFile,
    Kept,
    budget_entries,
    open_budget,
)
from client.privacy.budget_settings import BudgetSettings
from client.privacy.claims import Claim, forget_claims, open_claims
from client.privacy.lost_tail import declare, loss_of
from client.privacy.price import Price
from client.privacy.reservations import reservations
from client.privacy.training_patients import TrainingPatients
from client.receipts import LEDGER_FILE, recent_receipts
from client.stopped import stopped_ledger
from shared.errors import Refusal
from shared.heads import LostTail
from shared.ledger import Entry
from shared.privacy import Mechanism


@dataclass(frozen=True)
class Reconciled:
    """What somebody's reconciling came to: the budget as it is now, and what was declared lost of the ledger, if so."""

    kept: Kept
    lost: LostTail | None = None


def reconcile(
    folder: Path, settings: BudgetSettings, *, by: str, now: str, price: Price, reason: str | None = None
) -> Reconciled | None:
    """Bring budget and ledger of a site whose agent is stopped into step, and write down who did it.

    Args:
        folder: the site's.
        settings: give the delta of the epsilon that is written down.
        by: who does it.
        now: RFC 3339, UTC.
        price: the highest epsilon of histories at a delta.
        reason: how it came to that, in the words of who does it.

    Returns:
        What was done; None if the two were in step, and nothing was changed.

    Raises:
        ResourceError: the agent runs.
        TrustError: the ledger does not hold, or a key is exposed.
    """
    file = open_budget(folder)
    with stopped_ledger(folder, now=now) as ledger:
        if file.catch_up(ledger, time=now):  # somebody's reconciling, it may be
            ledger.sign_head(time=now)
        found = out_of_step(file)
        if found is None:
            return None
        why, _ = found
        before, claims = file.look() or Kept(key_check=file.key_check), open_claims(folder)
        heads = [claim.head for claim in claims if claim.head]
        lost = loss_of(folder, ledger, heads, now=now) if heads else None
        entries = list(budget_entries(folder / LEDGER_FILE))
        through = _through(entries, before.budget, [*claims, *_counted(folder)], lost)
        budget, beyond = rebuilt(entries, before.budget, through)
        delta = settings.delta_among(before.budget.patients)
        said = _told(budget, beyond, delta, price) | {"by": by, "why": why} | ({"reason": reason} if reason else {})
        kept = Kept(key_check=file.key_check, mark=file.last_mark() or None, budget=budget)
        kept = file.change(kept, ledger, RECONCILED, said, time=now)  # charged first: a crash here asks for it again
        if lost is not None:
            declare(ledger, lost, by=by, why=reason or why)
        ledger.sign_head(time=now)
        forget_claims(folder)
        TrainingPatients(folder).forget_all()
        return Reconciled(kept, lost)


def out_of_step(file: BudgetFile) -> tuple[str, str] | None:
    """Why the budget may not be believed, in a sentence, and what to do about it; None if it may."""
    try:
        file.read()
    except Refusal as refusal:
        why, _, remedy = refusal.remedy.partition(". ")
        return f"{why}.", remedy
    return None


def rebuilt(
    entries: Sequence[Entry], before: Budget, through: Mapping[str, int]
) -> tuple[Budget, list[dict[str, Any]]]:
    """Everyone is charged with every round of the ledger, and with those that it does not know of.

    Args:
        entries: the ledger's about the budget.
        before: the budget as it was, which may know of more rounds than the ledger.
        through: by study, the last round that may have begun.

    Returns:
        The budget, and what was charged beyond the ledger: by study the mechanism and how many `rounds`, the last of
        them `last_round`.
    """
    tally = _Tally()
    for entry in entries:
        tally.take(entry.type, entry.data)
    beyond = _Tally()
    for study, account in before.accounts.items():
        missing = account.charged - tally.charged(study)
        beyond.add(study, account.study_digest, account.mechanism, missing, account.last_round)
    known = {study: (account.study_digest, account.mechanism) for study, account in before.accounts.items()}
    known |= tally.private
    for study, last in through.items():
        missing = last - max(tally.last_round(study), beyond.last_round(study))
        beyond.add(study, *known[study], missing, last)
    for said in beyond.lines:
        tally.take_beyond(said)
    return Budget(accounts=tally.accounts, everyone=together(tally.everyone)), beyond.lines


class _Tally:
    """Rounds added up: by study, and for everyone."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.private: dict[str, tuple[str, Mechanism]] = {}
        self.everyone: list[Mechanism] = []
        self.lines: list[dict[str, Any]] = []

    def take(self, kind: str, said: dict[str, Any]) -> None:
        """An entry about the budget."""
        if kind in (RESERVED, CHARGED):
            self.private[said["study"]] = said["study_digest"], _mechanism(said)
        if kind == CHARGED:
            self.add(said["study"], said["study_digest"], _mechanism(said), 1, said["round"])
        for one in said.get("charged", ()) if kind == RECONCILED else ():
            self.take_beyond(one)

    def take_beyond(self, said: dict[str, Any]) -> None:
        """Rounds that were charged by reconciling."""
        self.private[said["study"]] = said["study_digest"], _mechanism(said)
        self.add(said["study"], said["study_digest"], _mechanism(said), said["rounds"], said["last_round"])

    def add(self, study: str, digest: str, mechanism: Mechanism, rounds: int, last: int) -> None:
        """So many rounds of a study, none if below 1."""
        if rounds < 1:
            return
        before = self.accounts.get(study) or Account(study_digest=digest, mechanism=mechanism, reserved=0, open=False)
        update = {"charged": before.charged + rounds, "last_round": max(before.last_round, last)}
        self.accounts[study] = before.model_copy(update=update)
        self.everyone.append(times(mechanism, rounds))
        said = {"study": study, "study_digest": digest, "rounds": rounds, "last_round": last}
        self.lines.append(said | mechanism.model_dump())

    def charged(self, study: str) -> int:
        """How many rounds of a study."""
        return self.accounts[study].charged if study in self.accounts else 0

    def last_round(self, study: str) -> int:
        """The highest of them."""
        return self.accounts[study].last_round if study in self.accounts else 0


def _told(budget: Budget, beyond: list[dict[str, Any]], delta: float, price: Price) -> dict[str, Any]:
    """What the entry says of the budget as it is rebuilt."""
    rounds = sum(account.charged for account in budget.accounts.values())
    epsilon = price([budget.everyone], delta)
    return {"rounds": rounds, "lifetime_epsilon": epsilon, "lifetime_delta": delta, "charged": beyond}


def _through(
    entries: Sequence[Entry], before: Budget, claims: Sequence[Claim], lost: LostTail | None
) -> Mapping[str, int]:
    """By study, the last round that may have begun, by rules 2 and 3; `|` takes the higher of two."""
    held = Counter({study: account.last_round + account.reserved for study, account in before.accounts.items()})
    ever, through = held.copy(), Counter[str]()
    for entry in entries:
        if entry.type == RESERVED:
            ever |= Counter({entry.data["study"]: entry.data["last_round"]})
    for claim in claims:
        through |= Counter({claim.study: min(claim.round, ever[claim.study])})
    if lost is not None:
        open_then = reservations(entries, since=lost.since)
        through |= held | Counter({study: one.last for study, one in open_then.items()})
    return through


def _counted(folder: Path) -> list[Claim]:
    """What the receipts say of rounds in which this site counted, whether or not anybody doubts it."""
    told = (receipt for receipt in recent_receipts(folder) if receipt.outcome == "counted")
    return [Claim(study=receipt.study, round=receipt.round) for receipt in told]


def _mechanism(said: Mapping[str, Any]) -> Mechanism:
    return Mechanism.model_validate({name: said[name] for name in Mechanism.model_fields})
