"""An admission: what the coordinator tells a site on its roster of how to reach the federation.

It holds the address, the authorities to trust (two while one takes the other's place) and the certificate
of the site's transport key. The first is made when a site is admitted, another whenever one of these
changes. It holds no secret, and travels with the next message of a study, or as a file.

1. The coordinator signed it, for this site of this federation.
2. Its number is not lower than one that the site has taken.
3. Its certificate is for the site's own key, from an authority that stands beside it.
"""

from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from shared.fields import Name
from shared.identity import COORDINATOR, RECORD_FORMAT, Host, Port, SiteName, read_record
from shared.keys import VerifyKey
from shared.section import Section
from shared.signed_record import Signature, bounded, check_signature, sign_record

ADMISSION_PURPOSE = "admission"


class Access(Section):
    """What an admission says before it is signed; `number` rises with each one for the site.

    `authorities` and `certificate` are PEM.
    """

    protocol: Literal[1] = RECORD_FORMAT
    federation: Name
    site: SiteName
    number: Annotated[int, Field(ge=1, lt=2**53)]
    host: Host
    fleet_port: Port
    authorities: Annotated[str, Field(max_length=8192)]
    certificate: Annotated[str, Field(max_length=4096)]


class Admission(Access):
    """As the coordinator signed it."""

    signature: Signature


def make_admission(access: Access, *, key: Ed25519PrivateKey) -> bytes:
    """The access as the coordinator signs it."""
    return sign_record(access.model_dump(mode="json"), key=key, signer=COORDINATOR, purpose=ADMISSION_PURPOSE)


def read_admission(data: bytes, *, coordinator_key: VerifyKey) -> Admission:
    """Read an admission by rule 1; whom it is for, and whether it is new, is the caller's question.

    Raises:
        ProtocolError: it is of another format.
        TrustError: it is no admission, or another key signed it.
    """
    admission = read_record(Admission, bounded(data, "admission"), "admission")
    check_signature(admission, key=coordinator_key, signer=COORDINATOR, purpose=ADMISSION_PURPOSE)
    return admission
