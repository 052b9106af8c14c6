"""Who may be in a study at all, row by row, before any image is decoded.

1. A patient who has withdrawn is in no study, in no split.
2. In a private study nobody trains but those that were agreed when it was opened; before that, everybody may.

Patients are compared by their keyed hashes (`client/privacy/patients.py`).
"""

from client.imaging.catalogue import Row
from client.imaging.examples import Split
from client.imaging.reasons import Reason
from client.privacy.patients import keyed


class Screen:
    """Sets aside who may not be there, and remembers who trains.

    Args:
        key: of the site's keyed hashes.
        withdrawn: who has withdrawn.
        agreed: who may train; None for everybody.
    """

    def __init__(
        self, key: bytes, *, withdrawn: frozenset[bytes] = frozenset(), agreed: frozenset[bytes] | None = None
    ) -> None:
        self._key, self._withdrawn, self._agreed = key, withdrawn, agreed
        self._hashes: dict[str, bytes] = {}
        self.training: set[bytes] = set()

    def __call__(self, row: Row) -> Reason | None:
        """Why a usable row is not used, by the module's rules; None if it is."""
        assert row.patient is not None
        if row.patient not in self._hashes:
            self._hashes[row.patient] = keyed(self._key, row.patient)
        patient = self._hashes[row.patient]
        if patient in self._withdrawn:
            return Reason.WITHDRAWN
        if row.split is Split.TRAIN:
            if self._agreed is not None and patient not in self._agreed:
                return Reason.NOT_AGREED
            self.training.add(patient)
        return None
