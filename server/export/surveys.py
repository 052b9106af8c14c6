"""What the sites told of their images before a study: the survey of `study cohort` that belongs to it.

Nobody is asked anew: each site's counts went through its door under the contract of that survey, and lie in the
survey's own journal. Decides which survey is a study's: one that counted for the same task, images and clinical
columns; the last before the study began, else the first after.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.report.evidence import Evidence, read_evidence
from server.study_folder import StudyState, all_studies
from shared.errors import TrustError
from shared.identity import COORDINATOR
from shared.ledger import read_lines, verify
from shared.study import Study
from shared.survey import Survey

_NOT_COUNTED = {"augment", "landmarks"}  # of images; no count follows from them


@dataclass(frozen=True)
class Surveyed:
    """One survey: the name of its folder, the day on which it was made, and what each site told."""

    name: str
    day: str
    by_site: Mapping[str, Survey]

    def by_letter(self, key: Mapping[str, str]) -> "Surveyed":
        """The same by letter, of those sites whose letters `key` has."""
        told = {letter: self.by_site[site] for letter, site in key.items() if site in self.by_site}
        return Surveyed("", self.day, told)


def survey_for(federation: Path, evidence: Evidence, *, key: Ed25519PrivateKey) -> Surveyed | None:
    """The survey of a study, of the study's own sites; None if there is none.

    Args:
        federation: its folder.
        evidence: of the study, with the sites' names.
        key: the coordinator's.

    Raises:
        StudyError, TrustError, ResourceError: a survey's folder is not sound, or not what the coordinator signed.
    """
    began = evidence.records[0][0]
    found = sorted(_surveys(federation, evidence.study, key), key=lambda survey: survey.records[0][0])
    before = [survey for survey in found if survey.records[0][0] <= began]
    if not found:
        return None
    chosen = before[-1] if before else found[0]
    started = evidence.history.started
    own = set(started.cohort) if started else set()
    told = {site: said.survey for site, said in sorted(chosen.history.rehearsed.items()) if said.survey is not None}
    by_site = {site: survey for site, survey in told.items() if site in own}
    return Surveyed(chosen.study.name, _day(chosen.records[0][0]), by_site) if by_site else None


def _surveys(federation: Path, study: Study, key: Ed25519PrivateKey) -> Iterator[Evidence]:
    for folder in all_studies(federation):
        terms = folder.rehearsal()
        if terms is None or not terms.survey or folder.standing().state is not StudyState.FINISHED:
            continue
        if _counted(folder.study()) != _counted(study):
            continue
        verdict = verify(read_lines(folder.journal), public_key=key.public_key(), signer=COORDINATOR)
        if not verdict.ok or not verdict.signed_entries:
            raise TrustError(
                f"The journal of the survey {folder.name} is not what the coordinator signed:"
                f" {verdict.reason or 'it has no head'}",
                remedy="Restore its folder from backup, or take the folder away to export without it.",
            )
        yield read_evidence(folder)


def _counted(study: Study) -> dict[str, Any]:
    """What of a study decides the counts."""
    return {
        "task": study.task.model_dump(),
        "images": study.images.model_dump(exclude=_NOT_COUNTED),
        "clinical": {name: column.model_dump() for name, column in study.clinical.items()},
    }


def _day(time: datetime) -> str:
    return time.date().isoformat()
