"""What the sites told of their images before a study: the survey of `study cohort` that belongs to it.

Nobody is asked anew: each site's counts went through its door under the contract of that survey, and lie in the
survey's own journal. Decides which survey is a study's: one that counted for the same task, images and clinical
columns; of each site the last before the study began in which it told, else the first after. One whose journal is not
what the coordinator signed is named, and nothing of it believed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from server.report.evidence import Evidence, read_evidence
from server.study_folder import StudyState, all_studies
from shared.errors import StudyError, TrustError
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
from shared.ledger import read_lines, verify
from shared.study import Study
from shared.survey import Survey

_OF_IMAGES = {"augment", "landmarks", "patch"}  # from which no count follows
_OF_TASK = {"subgroups", "instances", "accept_memorisation"}


@dataclass(frozen=True)
class Surveyed:
    """What the sites told: the days on which they were asked, each site's survey, and the surveys that are damaged."""

    day: str
    by_site: Mapping[str, Survey]
    damaged: tuple[str, ...] = ()

    def by_letter(self, key: Mapping[str, str]) -> "Surveyed":
        """The same by letter, of those sites whose letters `key` has; a survey's own name may be a site's."""
        told = {letter: self.by_site[site] for letter, site in key.items() if site in self.by_site}
        return Surveyed(self.day, told, ("one or more",) if self.damaged else ())


def survey_for(federation: Path, evidence: Evidence, *, keys: VerifyKey) -> Surveyed | None:
    """What the study's own sites told in its surveys, each in the last before the study; None if there is none.

    Args:
        federation: its folder.
        evidence: of the study, with the sites' names.
        keys: that have signed for the federation.

    Raises:
        StudyError, ResourceError: a folder's terms are not sound, or the disk refused.
    """
    sound, damaged = _surveys(federation, evidence.study, keys)
    began, started = evidence.records[0][0], evidence.history.started
    after = sorted((survey for survey in sound if _asked(survey) > began), key=_asked)
    before = sorted((survey for survey in sound if _asked(survey) <= began), key=_asked, reverse=True)
    by_site: dict[str, Survey] = {}
    days = set()
    for survey in (*before, *after):
        for site in sorted(started.cohort if started else ()):
            said = survey.history.rehearsed.get(site)
            if site not in by_site and said is not None and said.survey is not None:
                by_site[site] = said.survey
                days.add(_asked(survey).date().isoformat())
    return Surveyed(", ".join(sorted(days)), by_site, damaged) if by_site or damaged else None


def _surveys(federation: Path, study: Study, keys: VerifyKey) -> tuple[list[Evidence], tuple[str, ...]]:
    """The finished surveys that counted for such a study, and the names of those that are not what was signed."""
    sound, damaged = [], []
    for folder in all_studies(federation):
        terms = folder.rehearsal()
        if terms is None or not terms.survey or folder.standing().state is not StudyState.FINISHED:
            continue
        try:
            if _counted(folder.study()) != _counted(study):
                continue
            verdict = verify(read_lines(folder.journal), public_key=keys, signer=COORDINATOR)
            if verdict.ok and verdict.signed_entries:
                sound.append(read_evidence(folder))
                continue
        except (StudyError, TrustError):
            pass
        damaged.append(folder.name)
    return sound, tuple(damaged)


def _asked(survey: Evidence) -> datetime:
    return survey.records[0][0]


def _counted(study: Study) -> dict[str, Any]:
    """What of a study decides the counts."""
    return {
        "task": study.task.model_dump(exclude=_OF_TASK),
        "images": study.images.model_dump(exclude=_OF_IMAGES),
        "clinical": {name: column.model_dump() for name, column in study.clinical.items()},
    }
