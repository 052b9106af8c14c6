"""The budget's file, and whether it may be believed: it must be in step with the site's ledger.

Every change of the budget is one writing of the file and one entry of the ledger, in this order. Both carry the
same random `mark`, and the file also the mark of the entry before, and what the entry says. Read again, the file

1. is in step if the ledger's last entry about the budget carries its mark;
2. is one change ahead if that entry carries the mark before: a crash or a full disk came between the two. What it
   charged stays, and the entry is written before the next change, or when the agent starts (`catch_up`);
3. is behind, or another site's, in every other case: a restored backup, a ledger that was cut, a file that is gone
   or damaged, another key of the patients. Nothing may be spent until somebody has reconciled the two;
4. is not believed either while the coordinator claims what the two lack (`client/privacy/claims.py`).

So a crash can only make the budget say too much. What a change is, `client/privacy/budget.py` decides.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, ValidationError

from client.privacy.budget import Budget
from client.privacy.claims import SETTLE, open_claims
from client.privacy.patients import key_check, patient_key
from client.receipts import LEDGER_FILE
from shared.durable import write_atomically
from shared.enrolment import read_invitation
from shared.errors import Refusal, WireCode, naming_disk_full
from shared.fields import Digest
from shared.ledger import Entry, Ledger, entry_of, read_types, read_whole_lines
from shared.randomness import PrivateRandom
from shared.section import Section

FILE_NAME = "budget.json"
RESERVED, CHARGED, RETURNED, RECONCILED = "budget_reserved", "privacy_spent", "budget_returned", "budget_reconciled"
ENTRIES = (RESERVED, CHARGED, RETURNED, RECONCILED)
REMEDY = "Stop the agent, run `wardround site budget reconcile`, and start it again."

Mark = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Told(Section):
    """The entry that says what was changed, without its mark."""

    entry: Literal["budget_reserved", "privacy_spent", "budget_returned", "budget_reconciled"]
    said: dict[str, JsonValue]


class Kept(Section):
    """budget.json; `told` is what the entry of its last change says."""

    version: Literal[1] = 1
    key_check: Digest
    mark: Mark | None = None
    previous: Mark | None = None
    told: Told | None = None
    budget: Budget = Budget()


class BudgetFile:
    """The file of one site, and what its ledger says of it.

    Args:
        folder: the site's.
        key_check: of the patients' hashes (`client/privacy/patients.py`).
    """

    def __init__(self, folder: Path, *, key_check: str) -> None:
        self._folder, self._path, self._ledger = folder, folder / FILE_NAME, folder / LEDGER_FILE
        self.key_check = key_check
        self._read_to = 0  # bytes of the ledger that `last_mark` has seen
        self._mark: str | None = None  # and the last one there

    def read(self) -> Kept:
        """The file, as the module's rules have it believed.

        Raises:
            Refusal: `BUDGET_STALE`, rules 3 and 4.
        """
        kept = self.in_step()
        for claim in open_claims(self._folder):
            what = f"By the coordinator's word {claim}; the ledger was restored or cut, or the coordinator errs."
            raise stale(what, remedy=SETTLE)
        return kept

    def in_step(self) -> Kept:
        """The file, in step with the ledger, whatever others claim.

        Raises:
            Refusal: `BUDGET_STALE`, rule 3.
        """
        last, kept = self.last_mark(), self.look()
        if kept is None or kept.key_check != self.key_check:
            if kept is None and last is None and not self._path.exists():
                return Kept(key_check=self.key_check)
            raise stale("The privacy budget's file is gone, damaged, or was made under another key.")
        if last not in (kept.mark, kept.previous):
            raise stale("The privacy budget's file is not in step with the ledger: one of them was restored or cut.")
        return kept.model_copy(update={"mark": last})

    def last_mark(self) -> str | None:
        """The mark of the ledger's last entry about the budget; empty if that has none, None if there is no such entry.

        Of a ledger that has grown only what is new is read, for it is asked at each refusal.
        """
        size = self._ledger.stat().st_size if self._ledger.exists() else 0
        if size < self._read_to:
            self._read_to, self._mark = 0, None
        for line in read_whole_lines(self._ledger, start=self._read_to) if size else ():
            self._read_to += len(line)
            if (entry := entry_of(line, ENTRIES)) is not None:
                self._mark = str(entry.data.get("budget_mark", ""))
        return self._mark

    def look(self) -> Kept | None:
        """The file as it is, in step or not; None if there is none that can be read."""
        try:
            return Kept.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, kept: Kept) -> None:
        """Replace the file.

        Raises:
            DiskFull: there is no room; the old one is untouched.
        """
        with naming_disk_full("The privacy budget could not be written: the disk is full."):
            write_atomically(self._path, kept.model_dump_json().encode(), mode=0o600)

    def change(self, kept: Kept, ledger: Ledger, entry: str, said: dict[str, Any], *, time: str) -> Kept:
        """Write a changed budget and the entry that says so, in this order.

        Args:
            kept: as `read` or this gave it, but for the new budget.
            ledger: the site's.
            entry: one of `ENTRIES`.
            said: its data, without the mark.
            time: RFC 3339, UTC.

        Raises:
            DiskFull: one of the two could not be written; nothing may be begun.
        """
        told = Told.model_validate({"entry": entry, "said": said})
        new = kept.model_copy(update={"mark": PrivateRandom().bytes(16).hex(), "previous": kept.mark, "told": told})
        self.write(new)
        _append(ledger, new, time=time)
        return new

    def catch_up(self, ledger: Ledger, *, time: str) -> bool:
        """Write the entry of the last change if that is missing by rule 2; whether it was.

        Args:
            ledger: the site's.
            time: RFC 3339, UTC.

        Raises:
            DiskFull: it cannot be written.
        """
        kept = self.look()
        if kept is None or kept.mark is None or kept.key_check != self.key_check or self.last_mark() != kept.previous:
            return False
        _append(ledger, kept, time=time)
        return True


def _append(ledger: Ledger, kept: Kept, *, time: str) -> None:
    if kept.told is not None:
        ledger.append(kept.told.entry, {**kept.told.said, "budget_mark": kept.mark}, time=time)


def open_budget(folder: Path) -> BudgetFile:
    """The budget's file of the site in `folder`, which has joined.

    Raises:
        TrustError: the key of the patients' hashes is damaged or exposed.
    """
    salt = read_invitation((folder / "invitation.json").read_bytes()).patient_salt
    return BudgetFile(folder, key_check=key_check(patient_key(folder), salt))


def budget_entries(ledger: Path) -> Iterator[Entry]:
    """Every entry about the budget; the chain is not checked, which `Ledger.open` has done."""
    return read_types(ledger, ENTRIES)


def stale(what: str, *, remedy: str = REMEDY) -> Refusal:
    """The refusal of rules 3 and 4, with what is wrong, in a sentence, for the site's own console."""
    return Refusal(WireCode.BUDGET_STALE, remedy=f"{what} {remedy}")
