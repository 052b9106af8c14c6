"""A PACS by DICOMweb: QIDO-RS finds (PS3.18 10.6), WADO-RS retrieves instance by instance (10.4).

Decides what is asked, how much of an answer is read, and when an answer means that no exam fits.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from client.pacs.archive import Intake
from client.pacs.multipart import BadAnswer, only_part
from client.pacs.query import Keys, Level, Series
from client.pacs.service import JSON, Service, away, refused, senseless
from client.pacs.settings import PacsSettings
from shared.errors import LinkError

_TAGS = {
    "StudyInstanceUID": "0020000D",
    "StudyDate": "00080020",
    "StudyDescription": "00081030",
    "AccessionNumber": "00080050",
    "SeriesInstanceUID": "0020000E",
    "Modality": "00080060",
    "BodyPartExamined": "00180015",
    "SOPInstanceUID": "00080018",
    "SOPClassUID": "00080016",
}
_MULTIPART = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 200
_PAGE_BYTES = 16 << 20
_MOST_ANSWERS = 2_000_000
_PIECE_BYTES = 256 << 10
_GONE = (404, 410)
_KINDS = (JSON, "application/json")  # the second by PACS that are older than the first


class Web:
    """A PACS that speaks DICOMweb; several threads may use it.

    Args:
        settings: with `[data.pacs.web]`.
        base: the folder that relative paths count from.
        page: answers asked for at once.

    Raises:
        TrustError: the token, password or certificates cannot be used.
    """

    def __init__(self, settings: PacsSettings, base: Path, *, page: int = _PAGE) -> None:
        self._page_size = page
        self._service = Service(settings, base)
        self._found = False  # whether the service has ever answered a search

    def find(self, level: Level, keys: Keys) -> Iterator[Keys]:
        """See `Archive.find`. Pages end where one brings nothing new: a limit of the PACS may be lower than ours."""
        path, parameters = _question(level, keys)
        seen: set[str] = set()
        offset = 0
        while offset < _MOST_ANSWERS:
            paging = [("limit", str(self._page_size)), ("offset", str(offset))]
            below = level is not Level.EXAM or offset > 0
            answers = self._page(path, [*parameters, *paging], may_be_absent=below)
            new = [answer for answer in answers if answer[_OWN[level]] not in seen]
            if not new:
                return
            seen |= {answer[_OWN[level]] for answer in new}
            offset += len(answers)
            yield from new
        raise LinkError("The PACS finds without an end.", remedy=f"Narrow the query; {offset:,} answers were read.")

    def fetch(self, series: Series, instances: Sequence[Keys], intake: Intake) -> None:
        """See `Archive.fetch`."""
        for instance in instances:
            intake.turn()
            self._fetch(series, instance["SOPInstanceUID"], intake)

    def close(self) -> None:
        """See `Archive.close`."""
        self._service.close()

    def _fetch(self, series: Series, uid: str, intake: Intake) -> None:
        path = f"/studies/{series.exam}/series/{series.uid}/instances/{uid}"
        with self._service.asked("GET", path, accept=_MULTIPART) as answer:
            if answer.status_code != httpx.codes.OK:
                intake.fail(uid, "gone" if answer.status_code in _GONE else "pacs_error")
                return
            try:
                kind = answer.headers.get("Content-Type", "")
                intake.take(uid, only_part(kind, answer.iter_bytes(_PIECE_BYTES)))
            except BadAnswer:
                intake.fail(uid, "not_dicom")

    def _page(self, path: str, parameters: Iterable[tuple[str, str]], *, may_be_absent: bool) -> list[Keys]:
        with self._service.asked("GET", path, parameters, accept=JSON) as answer:
            status = answer.status_code
            body = _body(answer) if status == httpx.codes.OK else b""
        if status == httpx.codes.OK:
            answers = _answers(body)
            self._found = True
            return answers
        absent = status in _GONE and (may_be_absent or self._is_here())  # its line is free again: there may be but one
        if status == httpx.codes.NO_CONTENT or absent:
            return []
        raise _unfound(status)

    def _is_here(self) -> bool:
        """Whether a search finds the service at all: some PACS say 404 where no exam fits, as a wrong address does.

        Asked once, for any one exam. An empty PACS that says 404 to that, too, cannot be told from a wrong address.
        """
        if not self._found:
            with self._service.asked("GET", "/studies", [("limit", "1")], accept=JSON) as answer:
                kind, status = answer.headers.get("Content-Type", "").partition(";")[0].strip(), answer.status_code
                self._found = status == httpx.codes.NO_CONTENT or (status == httpx.codes.OK and kind in _KINDS)
        return self._found


_OWN = {Level.EXAM: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.INSTANCE: "SOPInstanceUID"}


def _question(level: Level, keys: Keys) -> tuple[str, list[tuple[str, str]]]:
    """The path and parameters that ask for a level."""
    path = "/studies"
    if level is not Level.EXAM:
        path += f"/{keys['StudyInstanceUID']}/series"
    if level is Level.INSTANCE:
        path += f"/{keys['SeriesInstanceUID']}/instances"
    asked = {name: value for name, value in keys.items() if f"/{value}/" not in path}
    matched = [(name, value) for name, value in asked.items() if value]
    return path, [*matched, *(("includefield", name) for name, value in asked.items() if name in _TAGS)]


def _body(answer: httpx.Response) -> bytes:
    body = bytearray()
    for piece in answer.iter_bytes(_PIECE_BYTES):
        body += piece
        if len(body) > _PAGE_BYTES:
            raise senseless()
    return bytes(body)


def _answers(body: bytes) -> list[Keys]:
    """DICOM JSON (PS3.18 F.2) as keywords and texts; whatever is no text of a known tag is left away."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise senseless() from None
    if not isinstance(parsed, list) or not all(isinstance(one, dict) for one in parsed):
        raise senseless()
    return [{name: _text(one.get(tag)) for name, tag in _TAGS.items()} for one in parsed]


def _text(element: Any) -> str:
    values = element.get("Value") if isinstance(element, Mapping) else None
    first = values[0] if isinstance(values, list) and values else ""
    return first[:1024] if isinstance(first, str) else ""


def _unfound(status: int) -> LinkError:
    """Why nothing was found; an instance with the same status fails alone."""
    if status == httpx.codes.INTERNAL_SERVER_ERROR:
        return away(status)
    if status in _GONE:
        return LinkError(
            f"There is no DICOMweb service at the address of the PACS (HTTP {status}).",
            remedy="Correct data.pacs.web.url in site.toml.",
        )
    return refused(status)
