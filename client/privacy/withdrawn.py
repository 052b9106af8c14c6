"""Who has withdrawn from this site: such a patient is in no study here from then on, in no split.

`withdrawn.jsonl` holds a line for each: the keyed hash (`client/privacy/patients.py`), who wrote it down and when, and
whether the ledger has an entry yet. The ledger is its one writer's: where the agent runs, the agent writes the entry,
before its next piece of work. The entry says that somebody withdrew, and not who.

The list is believed, and the site works on studies, only if

1. each line can be read, and was written under the key and the federation's salt of today: under others the hashes
   would name nobody;
2. each random mark that the ledger's entries name is the mark of a line: a list that was deleted, or restored from a
   backup, lacks some. Once everybody is entered again a person declares those lost, and the ledger says who did;
3. since its ledger was declared to have lost its end (`client/privacy/lost_tail.py`) a person has declared that, too:
   what betrays an older list may have been lost with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from client.person import Person
from client.privacy import lost_tail
from client.privacy.patients import KEY_FILE, KEYED_BYTES, key_check, keyed, patient_key, patient_salt, pseudonym_here
from client.receipts import LEDGER_FILE
from shared.chain import Entry
from shared.durable import locked, write_atomically
from shared.errors import Refusal, WireCode
from shared.fields import Digest
from shared.ledger import Ledger, read_types
from shared.randomness import PrivateRandom
from shared.section import Section

FILE_NAME = "withdrawn.jsonl"
ENTRY = "patient_withdrawn"
COMPLETE = "withdrawals_complete"
_MARK_BYTES = 8  # two of 10^6 withdrawals share a mark with a probability below 10^-7, and are then one
_REMEDY = (
    f"Restore {FILE_NAME} from a backup that has them all. If there is none, move it away and enter each of them again"
    " with `wardround site withdraw`; the ledger's entries patient_withdrawn say how many they are. Then stop the agent"
    " and declare that with `wardround site withdraw --complete`."
)
_AFTER_LOSS = (
    "The ledger has lost its end, and whoever withdrew within it may be missing on the list. Ask who has withdrawn"
    " since the backup was made, and enter each of them with `wardround site withdraw`. Then, even if it is nobody,"
    " stop the agent and declare with `wardround site withdraw --complete` that all are on the list."
)


class Withdrawal(Section):
    """One patient's; `noted` is whether the ledger says that there was one, by its random `mark`.

    `key_check` tells the key and the salt that `patient` was made with.
    """

    mark: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * _MARK_BYTES}}}$")]
    key_check: Digest
    patient: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * KEYED_BYTES}}}$")]
    by: Person
    time: str
    noted: bool = False


@dataclass(frozen=True)
class Lacking:
    """What a list of so many lines lacks: the marks that the ledger names and, after a loss, perhaps others."""

    lines: int
    marks: frozenset[str]
    after_loss: bool

    def __bool__(self) -> bool:
        return bool(self.marks) or self.after_loss


class Withdrawn:
    """The list of one site.

    Args:
        folder: the site's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE_NAME
        self._named: set[str] | None = None  # marks that the list must have; read from the ledger when first asked for
        self._after_loss = False  # of the ledger's end, behind which nobody has declared the list complete; read then

    def patients(self) -> frozenset[bytes]:
        """The keyed hashes of who has withdrawn.

        Raises:
            Refusal: `WITHDRAWN_DAMAGED`, by rule 1: no study, private or not, goes on until the list is mended.
        """
        return frozenset(bytes.fromhex(one.patient) for one in self._read())

    def has(self, identifier: str) -> bool:
        """Whether a patient, by the identifier that the images carry, has withdrawn; raises as `add`."""
        patient = keyed(patient_key(self._folder), pseudonym_here(self._folder, identifier))
        return patient in self.patients()

    def add(self, identifier: str, *, by: str, time: str) -> bool:
        """Let a patient, by the identifier that the images carry, be in no study any more; False if it was so.

        Raises:
            TrustError: the key or the invitation is damaged.
            Refusal: the list is.
        """
        key, salt = patient_key(self._folder), patient_salt(self._folder)
        patient = keyed(key, pseudonym_here(self._folder, identifier)).hex()
        with locked(self._folder):
            known = self._read()
            if any(one.patient == patient for one in known):
                return False
            mark = PrivateRandom().bytes(_MARK_BYTES).hex()
            new = Withdrawal(mark=mark, key_check=key_check(key, salt), patient=patient, by=by, time=time)
            self._write([*known, new])
        return True

    def note(self, ledger: Ledger, *, time: str) -> list[Entry]:
        """Write down in the ledger what it does not say yet, and hold the list against what it says.

        Raises:
            DiskFull: there is no room.
            Refusal: `WITHDRAWN_DAMAGED`, by rule 1, 2 or 3.
        """
        with locked(self._folder):
            known = self._read()
            entries = [self._append(ledger, one, time=time) for one in known if not one.noted]
            if entries:
                self._write([one.model_copy(update={"noted": True}) for one in known])
        if lacking := self._lacking(known):
            raise Refusal(WireCode.WITHDRAWN_DAMAGED, remedy=_REMEDY if lacking.marks else _AFTER_LOSS)
        return entries

    def lacking(self) -> Lacking:
        """What the list lacks now.

        Raises:
            Refusal: `WITHDRAWN_DAMAGED`, by rule 1.
        """
        return self._lacking(self._read())

    def complete(self, ledger: Ledger, lacking: Lacking, *, by: str, time: str) -> None:
        """Declare that the list has everybody again, and lacks those marks for good.

        Raises:
            DiskFull: there is no room.
        """
        ledger.append(COMPLETE, {"by": by, "missing": sorted(lacking.marks)}, time=time)
        self._named = None

    def _append(self, ledger: Ledger, one: Withdrawal, *, time: str) -> Entry:
        entry = ledger.append(ENTRY, {"by": one.by, "mark": one.mark}, time=time)
        self._named = None if self._named is None else self._named | {one.mark}
        return entry

    def _lacking(self, known: Sequence[Withdrawal]) -> Lacking:
        if self._named is None:
            self._named, self._after_loss = _named_in(self._folder / LEDGER_FILE)
        return Lacking(len(known), frozenset(self._named - {one.mark for one in known}), self._after_loss)

    def _read(self) -> list[Withdrawal]:
        if not self._path.exists():
            return []
        try:
            known = [Withdrawal.model_validate_json(line) for line in self._path.read_bytes().splitlines()]
        except ValidationError:
            raise Refusal(WireCode.WITHDRAWN_DAMAGED, remedy=_REMEDY) from None
        if {one.key_check for one in known} - {key_check(patient_key(self._folder), patient_salt(self._folder))}:
            raise Refusal(
                WireCode.WITHDRAWN_DAMAGED, remedy=f"It is of another {KEY_FILE}; restore that one. Else: {_REMEDY}"
            )
        return known

    def _write(self, withdrawals: list[Withdrawal]) -> None:
        lines = (one.model_dump_json() + "\n" for one in withdrawals)
        write_atomically(self._path, "".join(lines).encode(), mode=0o600)


def _named_in(ledger: Path) -> tuple[set[str], bool]:
    """What nobody has declared since: the marks that a ledger names, and whether it lost its end."""
    named, after_loss = set[str](), False
    for entry in read_types(ledger, (ENTRY, COMPLETE, lost_tail.ENTRY)):
        if entry.type == ENTRY:
            named.add(entry.data["mark"])
        elif entry.type == COMPLETE:
            named, after_loss = named - set(entry.data["missing"]), False
        else:
            after_loss = True
    return named, after_loss
