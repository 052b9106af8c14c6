"""Lines to a PACS by DIMSE: how one is opened and ended, and what its failing means.

A line of its own for each question: a PACS hangs up on those that rest. What is said over it is the callers' matter.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE

from client.pacs.archive import AGAIN, Away
from client.pacs.settings import DimseSettings, PacsSettings
from client.pacs.tls import client_context
from shared.errors import ConfigError, LinkError

_PATIENCE_S, _CONNECT_S = 120.0, 15.0  # without a whole message; until a line is open
_TRANSIENT = 2  # of a rejection (PS3.8 9.3.4)


class Caller:
    """Who dials; several threads may use it.

    Args:
        settings: with `[data.pacs.dimse]`.
        base: the folder that relative paths count from.

    Attributes:
        entity: the library's own.

    Raises:
        TrustError: a certificate cannot be used.
    """

    def __init__(self, settings: PacsSettings, base: Path) -> None:
        assert settings.dimse is not None
        self._to: DimseSettings = settings.dimse
        self._tls = (client_context(settings, base), self._to.host) if self._to.tls else None
        self.entity = AE(ae_title=self._to.calling)
        self.entity.acse_timeout = self.entity.connection_timeout = _CONNECT_S
        self.entity.dimse_timeout = self.entity.network_timeout = _PATIENCE_S

    def close(self) -> None:
        """Hang up on every line."""
        self.entity.shutdown()

    @contextlib.contextmanager
    def line(self, contexts: list[Any], *, roles: Any = None, handlers: Any = None) -> Iterator[Any]:
        """An association, released after the block, aborted if the block ends with an error.

        Args:
            contexts: what is proposed.
            roles: who may be which side of them.
            handlers: what the library calls.

        Raises:
            Away: there is none, or it broke.
            LinkError: the PACS refuses.
            ConfigError: what is to be sent cannot be written as DICOM.
        """
        to = self._to
        line = self.entity.associate(
            to.host, to.port, contexts, to.called, ext_neg=roles, tls_args=self._tls, evt_handlers=handlers
        )
        if not line.is_established:
            raise self._no_line(line)
        opened = getattr(line.dul.socket, "socket", None)
        # The library leaves a socket open whose line broke.
        with contextlib.closing(opened) if opened else contextlib.nullcontext():
            try:
                yield line
            except RuntimeError:  # its word for a line that broke meanwhile
                line.abort()
                raise Away("The PACS broke off.", remedy=AGAIN) from None
            except ValueError as error:  # the library's word for a service that was not accepted, and not for it alone
                line.abort()
                if "encode" in str(error):
                    raise ConfigError(
                        "What was to be sent cannot be written as DICOM; nothing of it was sent.",
                        remedy="Let `wardround predict` write it anew, or look at the query in site.toml.",
                    ) from None
                raise refused("the service was not accepted") from None
            except BaseException:
                line.abort()
                raise
            line.release()

    def _no_line(self, line: Any) -> LinkError:
        if line.is_rejected:
            answer = line.acceptor.primitive
            if answer is None or answer.result != _TRANSIENT:
                return refused("the association was rejected")
            return Away("The PACS is busy.", remedy=AGAIN)
        hint = "; with tls, its certificate has to verify with data.pacs.ca" if self._tls else ""
        return Away("The PACS cannot be reached by DIMSE.", remedy=AGAIN.replace(";", f"{hint};", 1))


def status_of(status: Dataset) -> int:
    """An answer's status.

    Raises:
        Away: the line broke, which the library says by an empty one.
    """
    if "Status" not in status:
        raise Away("The PACS broke off.", remedy=AGAIN)
    return int(status.Status)


def refused(why: str) -> LinkError:
    """The error of a PACS that says no."""
    return LinkError(
        f"The PACS refuses: {why}.",
        remedy="Compare AE titles, host and port in [data.pacs.dimse] with what the PACS has for this site.",
    )
