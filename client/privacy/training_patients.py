"""Who trains in a private study: the worker says it when the study is opened, and afterwards holds to it.

    training-patients/<study digest>.offered   the worker's: keyed hashes of all patients that it would train
    training-patients/<study digest>.agreed    the agent's: those that the budget has put the study's rounds aside for

Patients who come later are not in the study before it is opened anew. Neither file leaves the site, and no other
file, log or message says who is in them.
"""

from pathlib import Path

from client.privacy.budget import Patients, packed, unpacked
from client.privacy.patients import KEYED_BYTES
from shared.durable import show_file, write_atomically
from shared.errors import Refusal, WireCode, naming_disk_full

MOST_PATIENTS = 2_000_000


class TrainingPatients:
    """The lists of one site's private studies.

    Args:
        folder: the site's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "training-patients"

    def offer(self, study_digest: str, patients: Patients) -> None:
        """The worker's word on who would train."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        show_file(self._place(study_digest, "offered"), packed(patients), mode=0o600)

    def offered(self, study_digest: str) -> Patients:
        """What the worker said.

        Raises:
            Refusal: `WORKER_CRASHED`, it said nothing, or something else.
        """
        found = self._read(self._place(study_digest, "offered"))
        if not found:
            raise Refusal(WireCode.WORKER_CRASHED)
        return found

    def agree(self, study_digest: str, patients: Patients) -> None:
        """Let these train, and no others."""
        with naming_disk_full():
            write_atomically(self._place(study_digest, "agreed"), packed(patients), mode=0o600)
        self._place(study_digest, "offered").unlink(missing_ok=True)

    def agreed(self, study_digest: str) -> Patients:
        """Who may train; nobody where nothing was agreed."""
        return self._read(self._place(study_digest, "agreed"))

    def forget(self, study_digest: str) -> None:
        """Let a study's lists go."""
        for state in ("offered", "agreed"):
            self._place(study_digest, state).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """Let every study's lists go."""
        for path in self._folder.glob("*"):
            path.unlink(missing_ok=True)

    def _place(self, study_digest: str, state: str) -> Path:
        return self._folder / f"{study_digest}.{state}"

    @staticmethod
    def _read(path: Path) -> Patients:
        most = MOST_PATIENTS * KEYED_BYTES
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
            return unpacked(data) if len(data) <= most else frozenset()
        except (OSError, ValueError):
            return frozenset()
