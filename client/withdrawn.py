"""Who has withdrawn from this site: such a patient is in no study here from then on, in no split.

`withdrawn.jsonl` holds a line for each: the keyed hash (`client/patients.py`), who wrote it down and when, and whether
the ledger has an entry yet. The ledger is its one writer's: where the agent runs, the agent writes the entry, before
its next piece of work. The entry says that somebody withdrew, and not who.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from client.imaging.catalogue import pseudonym
from client.patients import KEYED_BYTES, keyed, patient_key
from shared.chain import Entry
from shared.durable import locked, write_atomically
from shared.enrolment import read_invitation
from shared.errors import Refusal, WireCode
from shared.ledger import Ledger
from shared.section import Section

FILE_NAME = "withdrawn.jsonl"
ENTRY = "patient_withdrawn"
_REMEDY = (
    f"Restore {FILE_NAME} from a backup that has them all, or move it away and enter each of them again with"
    " `wardround site withdraw`; the ledger's entries patient_withdrawn say how many they are."
)


class Withdrawal(Section):
    """One patient's; `noted` is whether the ledger says that there was one."""

    patient: Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * KEYED_BYTES}}}$")]
    by: str
    time: str
    noted: bool = False


class Withdrawn:
    """The list of one site.

    Args:
        folder: the site's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / FILE_NAME

    def patients(self) -> frozenset[bytes]:
        """The keyed hashes of who has withdrawn.

        Raises:
            Refusal: `WITHDRAWN_DAMAGED`: no study, private or not, goes on until the list is mended.
        """
        return frozenset(bytes.fromhex(one.patient) for one in self._read())

    def add(self, identifier: str, *, by: str, time: str) -> bool:
        """Let a patient, by the identifier that the images carry, be in no study any more; False if it was so.

        Raises:
            TrustError: the key or the invitation is damaged.
            Refusal: the list is.
        """
        salt = read_invitation((self._folder / "invitation.json").read_bytes()).patient_salt
        patient = keyed(patient_key(self._folder), pseudonym(bytes.fromhex(salt), identifier)).hex()
        with locked(self._folder):
            known = self._read()
            if any(one.patient == patient for one in known):
                return False
            self._write([*known, Withdrawal(patient=patient, by=by, time=time)])
        return True

    def note(self, ledger: Ledger, *, time: str) -> list[Entry]:
        """Write down in the ledger what it does not say yet.

        Raises:
            DiskFull: there is no room.
            Refusal: as `patients`.
        """
        if not self._path.exists():
            return []
        with locked(self._folder):
            known = self._read()
            entries = [ledger.append(ENTRY, {"by": one.by}, time=time) for one in known if not one.noted]
            if entries:
                self._write([one.model_copy(update={"noted": True}) for one in known])
        return entries

    def _read(self) -> list[Withdrawal]:
        if not self._path.exists():
            return []
        try:
            return [Withdrawal.model_validate_json(line) for line in self._path.read_bytes().splitlines()]
        except ValidationError:
            raise Refusal(WireCode.WITHDRAWN_DAMAGED, remedy=_REMEDY) from None

    def _write(self, withdrawals: list[Withdrawal]) -> None:
        lines = (one.model_dump_json() + "\n" for one in withdrawals)
        write_atomically(self._path, "".join(lines).encode(), mode=0o600)
