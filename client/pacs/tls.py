"""The TLS of a line to the PACS: whose certificate is believed, and which one is shown.

At least TLS 1.2; the name of the host is always checked.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from client.pacs.settings import PacsSettings
from shared.errors import TrustError


def client_context(settings: PacsSettings, base: Path) -> ssl.SSLContext:
    """For lines that the site opens.

    Args:
        settings: `ca`, `certificate` and `key`.
        base: the folder that relative paths count from.

    Raises:
        TrustError: a file cannot be read or does not hold what it should.
    """
    with _naming_files():
        context = ssl.create_default_context(cafile=base / settings.ca if settings.ca else None)
        return _showing(context, settings, base)


def server_context(settings: PacsSettings, base: Path) -> ssl.SSLContext:
    """For lines that the PACS opens; with `ca` it has to show a certificate.

    Raises:
        TrustError: as `client_context`.
    """
    with _naming_files():
        context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=base / settings.ca if settings.ca else None
        )
        context.verify_mode = ssl.CERT_REQUIRED if settings.ca else ssl.CERT_NONE
        return _showing(context, settings, base)


def _showing(context: ssl.SSLContext, settings: PacsSettings, base: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate and settings.key:
        context.load_cert_chain(base / settings.certificate, base / settings.key)
    return context


@contextmanager
def _naming_files() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # an SSLError is one
        raise TrustError(
            f"A file of ca, certificate or key cannot be used ({type(error).__name__}).",
            remedy="Correct it in [data.pacs] of site.toml; all three are PEM.",
        ) from None
