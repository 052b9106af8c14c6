"""What a site asks its PACS, and which of the answers it wants. Pure.

A PACS may pass over a key that it does not know, so every answer is held against the query again: the exam by day,
description and accession number, the series by modality and body part. So a question may be wider than the query: of
a description only letters and digits are asked for, which each PACS spells alike. Of a series that names no body part
nobody can say that it is of the one wanted; it is left out under a reason of its own. A UID goes into addresses: only
its own alphabet passes.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path

from client.pacs.settings import QuerySettings
from shared.errors import ConfigError

Keys = Mapping[str, str]  # DICOM keyword -> value; empty where nothing was said, or nothing is asked
_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*")  # PS3.5 9.1, at most 64 characters
_DAY = re.compile(r"[0-9]{8}")  # VR DA, PS3.5 6.2
_MOST_ACCESSIONS = 100_000
_MOST_BYTES = 4 << 20
_ACCESSION = re.compile(r"[^\\*?\x00-\x1f]{1,16}")  # VR SH, without what a PACS would take for a pattern
_EXAM_FACTS = ("StudyInstanceUID", "StudyDate", "StudyDescription", "AccessionNumber")
_SERIES_FACTS = ("SeriesInstanceUID", "Modality", "BodyPartExamined")


class Level(StrEnum):
    """What is asked for, in the words of the query model (PS3.4 C.6.2)."""

    EXAM = "STUDY"
    SERIES = "SERIES"
    INSTANCE = "IMAGE"


class LeftOut(StrEnum):
    """Why something that a PACS named is not wanted."""

    BAD_UID = "bad_uid"
    DAY = "day"
    DESCRIPTION = "description"
    ACCESSION = "accession"
    MODALITY = "modality"
    BODY_PART = "body_part"
    BODY_PART_UNSTATED = "body_part_unstated"


@dataclass(frozen=True)
class Series:
    """One series, by its UIDs and that of its exam."""

    exam: str
    uid: str


class Query:
    """The site's query.

    Args:
        settings: `[data.pacs.query]`.
        accessions: the accession numbers of its file; none if it names no file.
    """

    def __init__(self, settings: QuerySettings, accessions: Collection[str] = ()) -> None:
        self._settings = settings
        self._accessions = dict.fromkeys(accessions)

    def for_exams(self) -> Iterator[Keys]:
        """The questions at the level of exams; their answers may overlap."""
        wanted = self._settings
        keys = dict.fromkeys(_EXAM_FACTS, "")
        if wanted.first_day or wanted.last_day:
            keys["StudyDate"] = f"{_day(wanted.first_day)}-{_day(wanted.last_day)}"
        keys["StudyDescription"] = re.sub(r"[^A-Za-z0-9*]", "?", wanted.description or "")
        if wanted.accessions:
            yield from (keys | {"AccessionNumber": number} for number in self._accessions)
        elif wanted.modalities:
            yield from (keys | {"ModalitiesInStudy": modality} for modality in wanted.modalities)
        else:
            yield keys

    def of_exam(self, exam: str) -> Keys:
        """The question for the series of an exam."""
        return {"StudyInstanceUID": exam} | dict.fromkeys(_SERIES_FACTS, "")

    def of_series(self, series: Series) -> Keys:
        """The question for the instances of a series."""
        facts = dict.fromkeys(("SOPInstanceUID", "SOPClassUID"), "")
        return {"StudyInstanceUID": series.exam, "SeriesInstanceUID": series.uid} | facts

    def leaves_exam(self, answer: Keys) -> LeftOut | None:
        """Why an exam is not wanted, or None."""
        wanted = self._settings
        if not is_uid(answer.get("StudyInstanceUID", "")):
            return LeftOut.BAD_UID
        first, last, day = _day(wanted.first_day), _day(wanted.last_day), answer.get("StudyDate", "").strip()
        if (first or last) and not (_DAY.fullmatch(day) and first <= day <= (last or "99999999")):
            return LeftOut.DAY
        if wanted.accessions and answer.get("AccessionNumber", "").strip() not in self._accessions:
            return LeftOut.ACCESSION
        said = answer.get("StudyDescription", "").strip().upper()
        if wanted.description and not fnmatchcase(said, _literal(wanted.description.upper())):
            return LeftOut.DESCRIPTION
        return None

    def leaves_series(self, answer: Keys) -> LeftOut | None:
        """Why a series is not wanted, or None."""
        wanted = self._settings
        if not is_uid(answer.get("SeriesInstanceUID", "")):
            return LeftOut.BAD_UID
        if wanted.modalities and answer.get("Modality", "").strip() not in wanted.modalities:
            return LeftOut.MODALITY
        part = answer.get("BodyPartExamined", "").strip()
        if wanted.body_parts and part not in wanted.body_parts:
            return LeftOut.BODY_PART if part else LeftOut.BODY_PART_UNSTATED
        return None


def is_uid(text: str) -> bool:
    """Whether it is a DICOM UID, so nothing that an address or a path could take for more."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def read_accessions(file: Path) -> tuple[str, ...]:
    """The accession numbers of a file, one a line; each once.

    Raises:
        ConfigError: there is no such file, or a line is none. No line is quoted: it names an exam.
    """
    try:
        with file.open("rb") as opened:
            lines = opened.read(_MOST_BYTES + 1).decode("utf-8-sig").splitlines()  # as Windows writes it
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            "The file of accession numbers cannot be read.", remedy="Correct data.pacs.query.accessions in site.toml."
        ) from None
    numbers = {number: line for line, text in enumerate(lines, start=1) if (number := text.strip())}
    for number, line in numbers.items():
        if not _ACCESSION.fullmatch(number):
            raise ConfigError(
                f"Line {line} of the file of accession numbers is none: 1 to 16 characters, no *, ? and backslash.",
                remedy="Write one accession number in each line, and nothing else.",
            )
    if not 1 <= len(numbers) <= _MOST_ACCESSIONS:
        raise ConfigError(
            f"The file of accession numbers has {len(numbers):,}.", remedy=f"Name 1 to {_MOST_ACCESSIONS:,} of them."
        )
    return tuple(numbers)


def _day(day: date | None) -> str:
    return day.strftime("%Y%m%d") if day else ""


def _literal(pattern: str) -> str:
    """A DICOM pattern for fnmatch, to which brackets mean more."""
    return pattern.replace("[", "[[]")
