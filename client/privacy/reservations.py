"""What private studies hold of patients' budgets, as the ledger proves it, and how a person gives it back.

A study whose coordinator never closed it keeps its reservation. With the agent stopped, somebody at the site gives back
those rounds that the ledger proves have not begun, and the ledger says who. The study is closed in the budget with
that: should it still run, each of its rounds is refused here until it was opened, and has reserved, anew.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from client.privacy.budget_file import CHARGED, RECONCILED, RESERVED, RETURNED, budget_entries, open_budget, stale
from client.privacy.training_patients import TrainingPatients
from client.receipts import LEDGER_FILE
from client.stopped import stopped_ledger
from shared.errors import ConfigError
from shared.ledger import Entry


class Reservation(NamedTuple):
    """A study's rounds, as the ledger has them: none behind `began` has begun, and they are reserved up to `last`."""

    began: int
    last: int

    @property
    def unused(self) -> int:
        """How many rounds are reserved and have not begun."""
        return max(self.last - self.began, 0)


def reservations(entries: Iterable[Entry], *, since: int | None = None) -> dict[str, Reservation]:
    """By study that a ledger leaves open, what is reserved.

    Args:
        entries: those about the budget, from the first.
        since: where an end was lost, the last entry before it: what was given up behind that, or lapsed, may have been
            spent before in the lost end.
    """
    began: dict[str, int] = {}
    last: dict[str, int] = {}
    for entry in entries:
        holds = since is None or entry.n <= since
        if entry.type == RECONCILED:
            for said in entry.data["charged"]:
                began[said["study"]] = max(began.get(said["study"], 0), said["last_round"])
            if holds:
                last.clear()
            continue
        said, study = entry.data, entry.data["study"]
        if entry.type == CHARGED:
            began[study] = max(began.get(study, 0), said["round"])
        elif entry.type == RESERVED:
            last[study] = said["last_round"]
        elif holds:
            last.pop(study, None)
    return {study: Reservation(began.get(study, 0), end) for study, end in last.items()}


def unused(folder: Path, study: str) -> int:
    """How many rounds of a study the ledger proves to be reserved and not begun.

    Raises:
        ConfigError: nothing is reserved for it here.
        Refusal: `BUDGET_STALE`, the budget is not to be believed.
    """
    kept = open_budget(folder).read()
    account = kept.budget.accounts.get(study)
    proven = reservations(budget_entries(folder / LEDGER_FILE)).get(study)
    if account is None or not account.open or proven is None:
        held = ", ".join(name for name, one in kept.budget.accounts.items() if one.open)
        raise ConfigError(
            f"Nothing is reserved for {study!r} at this site.", remedy=f"Name one of these: {held or 'none is open'}."
        )
    if account.reserved > proven.unused:
        raise stale("The privacy budget's file says that more is reserved than the ledger proves.")
    return account.reserved


def give_back(folder: Path, study: str, *, by: str, now: str) -> int:
    """Give back what a study at a site whose agent is stopped has reserved and not begun; how many rounds it was.

    Args:
        folder: the site's.
        study: its name.
        by: who does it.
        now: RFC 3339, UTC.

    Raises:
        ConfigError: nothing is reserved for it here.
        Refusal: `BUDGET_STALE`, the budget is not to be believed.
        ResourceError: the agent runs.
        TrustError: the ledger does not hold, or a key is exposed.
    """
    file = open_budget(folder)
    with stopped_ledger(folder, now=now) as ledger:
        file.catch_up(ledger, time=now)
        rounds, kept = unused(folder, study), file.read()
        account = kept.budget.accounts[study]
        new = kept.model_copy(update={"budget": kept.budget.give_back(study)})
        said = {"study": study, "study_digest": account.study_digest, **account.mechanism.model_dump()}
        file.change(new, ledger, RETURNED, said | {"rounds": rounds, "by": by}, time=now)
        ledger.sign_head(time=now)
        TrainingPatients(folder).forget(account.study_digest)
        return rounds
