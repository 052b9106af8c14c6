"""What a PACS is to results that are to be stored in it: by DICOMweb (STOW-RS) or by DIMSE (C-STORE).

Decides what is sent and when the PACS has taken it: one object a request, and nothing but its plain yes counts. Who
may store, and what is remembered of it, others decide.
"""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import httpx
from pynetdicom import build_context

from client.pacs.caller import Caller, status_of
from client.pacs.results import Result
from client.pacs.service import JSON, Service
from client.pacs.settings import PacsSettings
from shared.errors import LinkError

_ANSWER_BYTES = 1 << 20
_FAILED = "00081198"  # FailedSOPSequence (PS3.18 10.5.3)
_WARNINGS = (0xB000, 0xB006, 0xB007)  # stored, with elements coerced or passed over (PS3.4 B.2.3)


class Depot(Protocol):
    """A PACS that takes results."""

    def store(self, result: Result) -> None:
        """Store one; stored anew, the PACS keeps it once, by its UID.

        Raises:
            Away: the PACS cannot be reached, or broke off.
            LinkError: it refuses.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...


def depot_of(settings: PacsSettings, base: Path) -> Depot:
    """The site's PACS.

    Args:
        settings: `[data.pacs]`.
        base: the folder that relative paths count from.

    Raises:
        TrustError: a token, password or certificate cannot be used.
    """
    return WebDepot(settings, base) if settings.web else DimseDepot(settings, base)


class WebDepot:
    """By STOW-RS (PS3.18 10.5)."""

    def __init__(self, settings: PacsSettings, base: Path) -> None:
        self._service = Service(settings, base)
        self.close: Callable[[], None] = self._service.close

    def store(self, result: Result) -> None:
        """See `Depot.store`."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        content = head + result.data + f"\r\n--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        with self._service.asked("POST", "/studies", accept=JSON, content=content, kind=kind) as answer:
            if answer.status_code not in (httpx.codes.OK, httpx.codes.ACCEPTED):
                raise _refused(f"HTTP {answer.status_code}")
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _ANSWER_BYTES:
                    raise _refused("it answers without an end")
        if _names_failure(bytes(body), sure=answer.status_code == httpx.codes.OK):
            raise _refused("it names the object as failed")


class DimseDepot:
    """By C-STORE (PS3.4 B)."""

    def __init__(self, settings: PacsSettings, base: Path) -> None:
        self._caller = Caller(settings, base)
        self.close: Callable[[], None] = self._caller.close

    def store(self, result: Result) -> None:
        """See `Depot.store`."""
        kind, syntax = result.form
        with self._caller.line([build_context(kind, syntax)]) as line:
            status = status_of(line.send_c_store(result.dataset))
        if status != 0 and status not in _WARNINGS:
            raise _refused(f"C-STORE failed with status {status:04X}")


def _names_failure(body: bytes, *, sure: bool) -> bool:
    """Whether an answer says that something was not stored; one that is no JSON says nothing, and may not be `sure`."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return not sure
    said = said[0] if isinstance(said, list) and said else said
    if not isinstance(said, dict):
        return not sure
    if _FAILED not in said:
        return False
    failed = said[_FAILED]
    return not isinstance(failed, dict) or bool(failed.get("Value"))  # a sequence of another form is no yes


def _refused(why: str) -> LinkError:
    return LinkError(
        f"The PACS does not take a result: {why}.",
        remedy="Have this site permitted to store SR and SEG objects there; give the same command again to go on.",
    )
