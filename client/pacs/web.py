"""A PACS by DICOMweb: QIDO-RS finds (PS3.18 10.6), WADO-RS retrieves instance by instance (10.4).

Decides what is asked and how much of an answer is read. Nothing but the configured address is ever asked: no
redirection is followed and no proxy of the environment used. An address holds UIDs and accession numbers, so none is
part of a message.
"""

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx

from client.pacs.archive import Away, Intake
from client.pacs.multipart import BadAnswer, only_part
from client.pacs.query import Keys, Level, Series
from client.pacs.secret import authorization
from client.pacs.settings import PacsSettings
from client.pacs.tls import client_context
from shared.errors import LinkError, TrustError

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
_JSON, _MULTIPART = "application/dicom+json", 'multipart/related; type="application/dicom"; transfer-syntax=*'
_PAGE = 200
_PAGE_BYTES = 16 << 20
_MOST_ANSWERS = 2_000_000
_PIECE_BYTES = 256 << 10
_PATIENCE = httpx.Timeout(60.0, connect=15.0)  # seconds; a PACS may fetch from tape, but says so or sends something
_PLAIN = "*?/:@!$'(),;"
_GONE, _BUSY = (404, 410), (429, 502, 503, 504)  # a proxy before a PACS that restarts says 502 or 504


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
        assert settings.web is not None
        self._page_size = page
        self._served = False
        self._url = settings.web.url.rstrip("/")
        self._client = httpx.Client(
            headers=authorization(settings.web, base) | {"Accept-Encoding": "identity"},
            verify=client_context(settings, base) if self._url.startswith("https:") else True,
            timeout=_PATIENCE,
            limits=httpx.Limits(max_connections=settings.lanes),
            trust_env=False,
        )

    def find(self, level: Level, keys: Keys) -> Iterator[Keys]:
        """See `Archive.find`. Pages end where one brings nothing new: a limit of the PACS may be lower than ours."""
        path, parameters = _question(level, keys)
        seen: set[str] = set()
        offset = 0
        while offset < _MOST_ANSWERS:
            paging = [("limit", str(self._page_size)), ("offset", str(offset))]
            # Below an exam, that there is no such address is an answer; of exams, only where the service is known.
            absent = level is not Level.EXAM or offset > 0
            answers = self._page(path, [*parameters, *paging], may_be_absent=absent)
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
        self._client.close()

    def _fetch(self, series: Series, uid: str, intake: Intake) -> None:
        path = f"/studies/{series.exam}/series/{series.uid}/instances/{uid}"
        with self._answer(path, (), _MULTIPART) as answer:
            if answer.status_code != httpx.codes.OK:
                intake.fail(uid, "gone" if answer.status_code in _GONE else "pacs_error")
                return
            try:
                kind = answer.headers.get("Content-Type", "")
                intake.take(uid, only_part(kind, answer.iter_bytes(_PIECE_BYTES)))
            except BadAnswer:
                intake.fail(uid, "not_dicom")

    def _page(self, path: str, parameters: Iterable[tuple[str, str]], *, may_be_absent: bool) -> list[Keys]:
        with self._answer(path, parameters, _JSON) as answer:
            status = answer.status_code
            if status == httpx.codes.NO_CONTENT or (status in _GONE and (may_be_absent or self._serves())):
                return []
            if status != httpx.codes.OK:
                raise _unfound(status)
            body = bytearray()
            for piece in answer.iter_bytes(_PIECE_BYTES):
                body += piece
                if len(body) > _PAGE_BYTES:
                    raise _senseless()
        found = _answers(bytes(body))
        self._served = True
        return found

    def _serves(self) -> bool:
        """Whether the service is there: some PACS say 404 where no exam fits (PS3.18 2011), as a wrong address does."""
        if not self._served:
            with self._answer("/studies", [("limit", "1")], _JSON) as answer:
                self._served = answer.status_code in (httpx.codes.OK, httpx.codes.NO_CONTENT)
        return self._served

    @contextmanager
    def _answer(self, path: str, parameters: Iterable[tuple[str, str]], kind: str) -> Iterator[httpx.Response]:
        try:
            # What may stand in a query stays as it is (RFC 3986 3.4): Orthanc 1.10 does not decode it.
            address = f"{self._url}{path}?{urlencode(list(parameters), quote_via=quote, safe=_PLAIN)}".rstrip("?")
            with self._client.stream("GET", address, headers={"Accept": kind}) as answer:
                if answer.status_code in (401, 403) or answer.is_redirect:
                    raise _refused(answer.status_code)
                if answer.status_code in _BUSY:
                    raise _away(answer.status_code)
                yield answer
        except httpx.TransportError as error:
            raise _broken(error) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise _senseless() from None


_OWN = {Level.EXAM: "StudyInstanceUID", Level.SERIES: "SeriesInstanceUID", Level.INSTANCE: "SOPInstanceUID"}
_AGAIN = "Look whether the PACS runs; give the same command again to go on."


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


def _answers(body: bytes) -> list[Keys]:
    """DICOM JSON (PS3.18 F.2) as keywords and texts; whatever is no text of a known tag is left away."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise _senseless() from None
    if not isinstance(parsed, list) or not all(isinstance(one, dict) for one in parsed):
        raise _senseless()
    return [{name: _text(one.get(tag)) for name, tag in _TAGS.items()} for one in parsed]


def _text(element: Any) -> str:
    values = element.get("Value") if isinstance(element, Mapping) else None
    first = values[0] if isinstance(values, list) and values else ""
    return first[:1024] if isinstance(first, str) else ""


def _away(status: int) -> Away:
    return Away(f"The PACS cannot answer now (HTTP {status}).", remedy=_AGAIN)


def _unfound(status: int) -> LinkError:
    """Why nothing was found; an instance with the same status fails alone."""
    if status == httpx.codes.INTERNAL_SERVER_ERROR:
        return _away(status)
    if status in _GONE:
        return LinkError(
            f"There is no DICOMweb service at the address of the PACS (HTTP {status}).",
            remedy="Correct data.pacs.web.url in site.toml.",
        )
    return _refused(status)


def _refused(status: int) -> LinkError:
    return LinkError(
        f"The PACS refuses the request (HTTP {status}).",
        remedy="Correct url, token_file or login_file in [data.pacs.web], or have this site permitted in the PACS.",
    )


def _senseless() -> LinkError:
    return LinkError("The PACS does not answer as DICOMweb does.", remedy="Correct data.pacs.web.url in site.toml.")


def _broken(error: httpx.TransportError) -> LinkError | TrustError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TrustError(
                "The certificate of the PACS does not verify.",
                remedy="Name the file of its authority with data.pacs.ca, and its name as the certificate has it.",
            )
        cause = cause.__cause__ or cause.__context__
    return Away(f"The PACS cannot be reached, or broke off ({type(error).__name__}).", remedy=_AGAIN)
