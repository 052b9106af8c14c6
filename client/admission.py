"""What a site has been told of how to reach its federation: the newest admission, taken by its rules.

The invitation says it first; from the first admission on, that is what the line is made from. The rules stand
in `shared/admission.py`; here are the file, `admission.json` in the site's folder, and rules 2 and 3.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Self

from client.coordinators import Coordinators
from client.kept_record import read_kept
from shared.admission import Admission, read_admission
from shared.canonical import digest
from shared.certificates import check_certificate, ends_at, is_for_key
from shared.clock import day
from shared.durable import write_atomically
from shared.enrolment import Invitation
from shared.errors import TrustError
from shared.keys import VerifyKey
from shared.signed_record import LARGEST_RECORD

FILE_NAME = "admission.json"
ENTRY = "admission_taken"
Note = Callable[[str, dict[str, Any]], object]


class Reach(NamedTuple):
    """Where a site dials, whom it trusts there (PEM), and what it shows to a proxy that asks (PEM)."""

    host: str
    port: int
    ca_pem: bytes
    certificate_pem: bytes | None = None

    @classmethod
    def of(cls, admission: Admission) -> Self:
        """As an admission says it."""
        return cls(admission.host, admission.fleet_port, admission.authorities.encode(), admission.certificate.encode())

    @classmethod
    def known(cls, invitation: Invitation, admission: Admission | None) -> Self:
        """As the admission that was taken says it, before there is one as the invitation does."""
        if admission is not None:
            return cls.of(admission)
        return cls(invitation.host, invitation.fleet_port, invitation.ca_certificate.encode())


def take_admission(
    folder: Path, data: bytes, *, invitation: Invitation, coordinator: VerifyKey, transport_key: str, note: Note
) -> Admission:
    """Keep an admission by the module's rules; one that was taken before changes nothing.

    Args:
        folder: the site's folder.
        data: the admission's bytes.
        invitation: the site's own.
        coordinator: the key that speaks for the federation now.
        transport_key: the site's public key (PEM).
        note: lets the ledger say `ENTRY` and this; called before a new one is kept.

    Raises:
        ProtocolError: it was made for another protocol number.
        TrustError: a rule does not hold; what was taken before stays.
    """
    # 1. by the coordinator, for this site
    admission = read_admission(data, coordinator_key=coordinator)
    if (admission.federation, admission.site) != (invitation.federation, invitation.site):
        raise TrustError(
            f"The admission is for site {admission.site!r} of federation {admission.federation!r};"
            f" this is {invitation.site!r} of {invitation.federation!r}.",
            remedy="Ask the coordinator for this site's own.",
        )
    # 2. not older
    kept = load_admission(folder, invitation, transport_key=transport_key)
    if kept is not None and admission.number < kept.number:
        raise TrustError(
            "The admission is older than the one that this site has taken.", remedy="Nothing: the newer one holds."
        )
    # 3. for this site's key
    check_certificate(admission.certificate, transport_key=transport_key, authorities=admission.authorities)
    if admission != kept:
        note(ENTRY, _entry_of(admission))
        write_atomically(folder / FILE_NAME, data, mode=0o600)
    return admission


def load_admission(folder: Path, invitation: Invitation, *, transport_key: str | None = None) -> Admission | None:
    """The admission that was taken, if there is one; one for a key that the site no longer has counts for none.

    Args:
        folder: the site's folder.
        invitation: the site's own.
        transport_key: the site's public key (PEM); None where it is not at hand, and any key will do.

    Raises:
        ConfigError: it cannot be read.
        TrustError: it is damaged.
    """
    if (data := read_kept(folder / FILE_NAME, limit=LARGEST_RECORD)) is None:
        return None
    admission = read_admission(data, coordinator_key=Coordinators(folder, invitation).keys)
    ours = transport_key is None or is_for_key(admission.certificate, transport_key)
    return admission if ours else None


def last_day(admission: Admission) -> str:
    """The day on which the admission's certificate ends, UTC."""
    return day(ends_at(admission.certificate.encode()))


def _entry_of(admission: Admission) -> dict[str, Any]:
    return {
        "number": admission.number,
        "host": admission.host,
        "port": admission.fleet_port,
        "authorities": digest(admission.authorities.encode()),
    }
