"""A budget that is not in step with its ledger is built anew from the ledger, as an upper bound.

Nobody knows any more who was in which round, so every patient of the site, known or not, is charged with all that
the ledger says, and with the rounds that the budget or the coordinator knows of and the ledger does not. Whatever
was reserved lapses: an open study is opened anew by the coordinator, and reserves again. What cannot be known is how
often a round that is missing in the ledger had begun; each is charged once.
"""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from client.budget import Account, Budget, together
from client.budget_file import (
    CHARGED,
    RECONCILED,
    BudgetFile,
    Kept,
    Missing,
    budget_entries,
    last_mark,
    open_budget,
)
from client.budget_settings import BudgetSettings
from client.cohorts import Cohorts
from client.join import load_enrolment
from client.price import Price
from client.receipts import LEDGER_FILE, recent_receipts
from shared.errors import Refusal, ResourceError
from shared.ledger import Ledger
from shared.privacy import Mechanism
from shared.receipt import Receipt


def reconcile(folder: Path, settings: BudgetSettings, *, by: str, now: str, price: Price) -> Kept | None:
    """Bring budget and ledger of a site whose agent is stopped into step, and write down who did it.

    Args:
        folder: the site's.
        settings: give the delta of the epsilon that is written down.
        by: who does it.
        now: RFC 3339, UTC.
        price: the highest epsilon of histories at a delta.

    Returns:
        What is kept now; None if the two were in step, and nothing was changed.

    Raises:
        ResourceError: the agent runs.
        TrustError: the ledger does not hold, or a key is exposed.
    """
    enrolment, file, path = load_enrolment(folder), open_budget(folder), folder / LEDGER_FILE
    key, name = enrolment.identity_key, enrolment.invitation.site
    with agent_stopped(folder), Ledger.open(path, key=key, signer=name, now=now) as ledger:
        why = out_of_step(file)
        if why is None:
            return None
        before = file.look() or Kept(key_check=file.key_check)
        spent = (said for kind, said in budget_entries(path) if kind == CHARGED)
        budget = rebuilt(spent, before, recent_receipts(folder))
        delta = settings.delta_among(before.budget.patients)
        said = {
            "by": by,
            "why": why,
            "rounds": sum(account.charged for account in budget.accounts.values()),
            "lifetime_epsilon": price([budget.everyone], delta),
            "lifetime_delta": delta,
        }
        kept = Kept(key_check=file.key_check, mark=last_mark(path) or None, lost=file.lacking(), budget=budget)
        kept = file.change(kept, ledger, RECONCILED, said, time=now)
        ledger.sign_head(time=now)
        Cohorts(folder).forget_all()
        return kept


def out_of_step(file: BudgetFile) -> str | None:
    """Why the budget may not be believed, in a sentence; None if it may."""
    try:
        file.read()
    except Refusal as refusal:
        return refusal.remedy.partition(". ")[0] + "."
    return None


def rebuilt(spent: Iterator[dict[str, Any]], before: Kept, receipts: Iterable[Receipt] = ()) -> Budget:
    """Everyone is charged with every round of the ledger, and with those of which only somebody else knows.

    Args:
        spent: the data of the ledger's entries `privacy_spent`.
        before: the budget as it was, which may know of more rounds than the ledger.
        receipts: the coordinator's, which may as well.
    """
    accounts: dict[str, Account] = {}
    everyone: list[Mechanism] = []
    for said in spent:
        mechanism = Mechanism.model_validate({name: said[name] for name in Mechanism.model_fields})
        everyone.append(mechanism)
        _count(accounts, said["study"], said["study_digest"], mechanism, said["round"])
    for study, account in before.budget.accounts.items():
        for _ in range(account.charged - (accounts[study].charged if study in accounts else 0)):
            everyone.append(account.mechanism)
            _count(accounts, study, account.study_digest, account.mechanism, account.last_round)
    for study, lost in [*before.missing.items(), *_received(receipts, accounts)]:
        for number in range((accounts[study].last_round if study in accounts else 0) + 1, lost.through + 1):
            everyone.append(lost.mechanism)
            _count(accounts, study, lost.study_digest, lost.mechanism, number)
    return Budget(accounts=accounts, everyone=together(everyone))


def _received(receipts: Iterable[Receipt], accounts: dict[str, Account]) -> Iterator[tuple[str, Missing]]:
    """What receipts say of studies that are known to be private."""
    for receipt in receipts:
        account = accounts.get(receipt.study)
        if account is not None and receipt.outcome == "counted" and receipt.round > 0:
            digest, mechanism = account.study_digest, account.mechanism
            yield receipt.study, Missing(study_digest=digest, mechanism=mechanism, through=receipt.round)


def _count(accounts: dict[str, Account], study: str, digest: str, mechanism: Mechanism, number: int) -> None:
    before = accounts.get(study) or Account(study_digest=digest, mechanism=mechanism, reserved=0, open=False)
    update = {"charged": before.charged + 1, "last_round": max(before.last_round, number)}
    accounts[study] = before.model_copy(update=update)


@contextmanager
def agent_stopped(folder: Path) -> Iterator[None]:
    """Keep the site's agent from starting meanwhile.

    Raises:
        ResourceError: it runs.
    """
    with (folder / "agent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ResourceError(
                "The site's agent runs; it alone may write the budget now.", remedy="Stop it first, and try again."
            ) from None
        yield
