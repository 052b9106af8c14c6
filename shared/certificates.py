"""What a certificate says (RFC 5280): whose key it is, who issued it, when it ends.

Issuing them is the business of `server/membership/authority.py`, whom a site trusts that of `client/admission.py`.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.errors import TrustError
from shared.keys import transport_pem

DAY_S = 86_400
WARNED_DAYS = (1, 7, 30)  # before an end; the nearest that it has come to counts


def ends_at(pem: bytes) -> float:
    """When a certificate ends, Unix seconds.

    Raises:
        ValueError: it cannot be read.
    """
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def check_certificate(pem: str, *, transport_key: str, authorities: str) -> None:
    """Hold a site's certificate against its key and the authorities that are trusted.

    Args:
        pem: the certificate.
        transport_key: the site's public key, as `shared.keys.transport_pem` gives it.
        authorities: one or more authorities' certificates, PEM one after the other.

    Raises:
        TrustError: one of them cannot be read, the certificate is for another key, or none of them issued it.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        roots = x509.load_pem_x509_certificates(authorities.encode())
        holds = is_for_key(pem, transport_key)
    except ValueError:
        raise _unsound("cannot be read") from None
    if not holds:
        raise _unsound("is for another key than this site's")
    if not any(_issued(certificate, root) for root in roots):
        raise _unsound("is not from one of the authorities beside it")


def is_for_key(pem: str, transport_key: str) -> bool:
    """Whether a certificate is for a site's key, as `shared.keys.transport_pem` gives it; raises as `ends_at`."""
    key = x509.load_pem_x509_certificate(pem.encode()).public_key()
    return isinstance(key, ec.EllipticCurvePublicKey) and transport_pem(key) == transport_key


def is_issued_by(pem: bytes, authority: x509.Certificate) -> bool:
    """Whether this authority issued a certificate; raises as `ends_at`."""
    return _issued(x509.load_pem_x509_certificate(pem), authority)


def issuer_name(der: bytes) -> str:
    """Who a certificate says that issued it, in at most 64 plain characters; raises as `ends_at`."""
    return _name(x509.load_der_x509_certificate(der).issuer)


def authority_names(pem: bytes) -> list[str]:
    """The names of authorities, as `issuer_name` gives them.

    Args:
        pem: their certificates, one after the other.

    Raises:
        ValueError: there is none, one cannot be read, or is no authority's.
    """
    found = x509.load_pem_x509_certificates(pem)
    for certificate in found:
        try:
            is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except x509.ExtensionNotFound:
            is_authority = False
        if not is_authority:
            raise ValueError("a certificate that is no authority's")
    return [_name(certificate.subject) for certificate in found]


def warned_at(left_s: float) -> int | None:
    """Of `WARNED_DAYS` the one that an end has come to; None if there is more time left."""
    return next((days for days in WARNED_DAYS if left_s <= days * DAY_S), None)


def _name(name: x509.Name) -> str:
    kinds = (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
    said = next((str(part.value) for kind in kinds for part in name.get_attributes_for_oid(kind)), "")
    plain = "".join(character for character in said if character.isprintable())
    return " ".join(plain.split())[:64] or "nobody by name"


def _issued(certificate: x509.Certificate, root: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _unsound(why: str) -> TrustError:
    return TrustError(f"The certificate {why}.", remedy="Ask the coordinator to send the admission again.")
