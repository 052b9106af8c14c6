"""Requests to a DICOMweb service (PS3.18): who asks, over which line, and what a failing of either means.

Nothing but the configured address is ever asked: no redirection is followed and no proxy of the environment used. An
address holds UIDs and accession numbers, so none is part of a message. What is asked is the callers' matter.
"""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import httpx

from client.pacs.archive import AGAIN, Away
from client.pacs.secret import authorization
from client.pacs.settings import PacsSettings
from client.pacs.tls import client_context
from shared.errors import LinkError, TrustError

JSON = "application/dicom+json"
_PATIENCE = httpx.Timeout(60.0, connect=15.0)  # seconds; a PACS may fetch from tape, but says so or sends something
_REST_S = 0.5  # Orthanc hangs up on a line that has rested for a second, perhaps while the next request is on its way
_PLAIN = "*?/:@!$'(),;"
_BUSY = (429, 502, 503, 504)  # a proxy before a PACS that restarts says 502 or 504


class Service:
    """The service of a site's PACS; several threads may use it.

    Args:
        settings: with `[data.pacs.web]`.
        base: the folder that relative paths count from.

    Raises:
        TrustError: the token, password or certificates cannot be used.
    """

    def __init__(self, settings: PacsSettings, base: Path) -> None:
        assert settings.web is not None
        self._url = settings.web.url.rstrip("/")
        self._client = httpx.Client(
            headers=authorization(settings.web, base) | {"Accept-Encoding": "identity"},
            verify=client_context(settings, base) if self._url.startswith("https:") else True,
            timeout=_PATIENCE,
            limits=httpx.Limits(max_connections=settings.lanes, keepalive_expiry=_REST_S),
            trust_env=False,
        )

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    @contextmanager
    def asked(
        self,
        method: str,
        path: str,
        parameters: Iterable[tuple[str, str]] = (),
        *,
        accept: str,
        content: bytes | None = None,
        kind: str | None = None,
    ) -> Iterator[httpx.Response]:
        """An answer, its body unread.

        Args:
            method: of HTTP.
            path: below the service's address.
            parameters: behind it.
            accept: what may come.
            content: what is sent, of this `kind`.

        Raises:
            Away: the service cannot be reached, or cannot answer now.
            LinkError: it refuses who asks.
            TrustError: its certificate does not verify.
        """
        try:
            # What may stand in a query stays as it is (RFC 3986 3.4): Orthanc 1.10 does not decode it.
            address = f"{self._url}{path}?{urlencode(list(parameters), quote_via=quote, safe=_PLAIN)}".rstrip("?")
            headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
            with self._client.stream(method, address, headers=headers, content=content) as answer:
                if answer.status_code in (401, 403) or answer.is_redirect:
                    raise refused(answer.status_code)
                if answer.status_code in _BUSY:
                    raise away(answer.status_code)
                yield answer
        except httpx.TransportError as error:
            raise _broken(error) from None
        except (httpx.HTTPError, httpx.InvalidURL):
            raise senseless() from None


def away(status: int) -> Away:
    """The error of a PACS that is there and cannot answer."""
    return Away(f"The PACS cannot answer now (HTTP {status}).", remedy=AGAIN)


def refused(status: int) -> LinkError:
    """The error of a PACS that says no."""
    return LinkError(
        f"The PACS refuses the request (HTTP {status}).",
        remedy="Correct url, token_file or login_file in [data.pacs.web], or have this site permitted in the PACS.",
    )


def senseless() -> LinkError:
    """The error of an answer that is none."""
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
    return Away(f"The PACS cannot be reached, or broke off ({type(error).__name__}).", remedy=AGAIN)
