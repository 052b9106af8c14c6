"""The federation's certificate authority: which certificates it issues, and for how long.

One root (RFC 5280, EC P-384) that can sign nothing but end certificates, the server's
certificate with the names that sites may dial, and one for each site's transport key. Pure: keys and time
come in, certificates go out; `server/federation.py` and `server/membership/admissions.py` keep the files.
"""

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.certificates import DAY_S

AUTHORITY_DAYS = 3652  # ten years
SERVER_DAYS = 825  # the longest that common TLS clients accept
_CLOCK_SKEW = timedelta(hours=1)  # a site's clock may be behind the coordinator's


def issue_authority(key: ec.EllipticCurvePrivateKey, *, name: str, now: int) -> x509.Certificate:
    """The root certificate of a federation, signed by its own key.

    Args:
        key: the authority's P-384 key.
        name: the federation's name.
        now: Unix seconds.
    """
    subject = _common_name(f"{name} CA")
    builder = _builder(subject, subject, key.public_key(), now=now, until=now + AUTHORITY_DAYS * DAY_S)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
    return builder.sign(key, hashes.SHA384())


def issue_server(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    public_key: ec.EllipticCurvePublicKey,
    *,
    host: str,
    now: int,
) -> x509.Certificate:
    """The certificate that the server shows to sites that dial `host`, localhost or 127.0.0.1.

    Args:
        authority: the root certificate.
        authority_key: its key.
        public_key: the server's TLS key.
        host: host name or IP address; an address becomes an IP entry, as clients look there for it.
        now: Unix seconds.
    """
    until = min(now + SERVER_DAYS * DAY_S, int(authority.not_valid_after_utc.timestamp()))
    builder = _builder(_common_name("server"), authority.subject, public_key, now=now, until=until)
    names = dict.fromkeys([_general_name(host), _general_name("localhost"), _general_name("127.0.0.1")])
    builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    return _for(builder, ExtendedKeyUsageOID.SERVER_AUTH, authority_key)


def issue_site(
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    public_key: ec.EllipticCurvePublicKey,
    *,
    site: str,
    now: int,
    until: int,
) -> x509.Certificate:
    """The certificate that a site shows to a proxy that asks for one.

    Args:
        authority: the root certificate.
        authority_key: its key.
        public_key: the site's transport key.
        site: its name.
        now: Unix seconds.
        until: Unix seconds; when its entry on the roster ends.
    """
    builder = _builder(_common_name(site), authority.subject, public_key, now=now, until=until)
    return _for(builder, ExtendedKeyUsageOID.CLIENT_AUTH, authority_key)


def revocation_list(
    authority: x509.Certificate, authority_key: ec.EllipticCurvePrivateKey, serials: Iterable[int], *, now: int
) -> bytes:
    """The list (PEM) of certificates that are void; it lasts as long as the authority, for each change writes it anew.

    Args:
        authority: the root certificate.
        authority_key: its key.
        serials: numbers of the certificates.
        now: Unix seconds.
    """
    at = datetime.fromtimestamp(now, UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject)
    builder = builder.last_update(at - _CLOCK_SKEW).next_update(authority.not_valid_after_utc)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at - _CLOCK_SKEW).build()
        builder = builder.add_revoked_certificate(entry)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    return builder.sign(authority_key, hashes.SHA384()).public_bytes(serialization.Encoding.PEM)


def read_authority(pem: bytes) -> x509.Certificate:
    """A root certificate from its PEM.

    Raises:
        ValueError: it cannot be read.
    """
    return x509.load_pem_x509_certificate(pem)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _for(
    builder: x509.CertificateBuilder, use: x509.ObjectIdentifier, authority_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """An end certificate for one use."""
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(digital_signature=True), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return builder.add_extension(issuer, critical=False).sign(authority_key, hashes.SHA384())


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, now: int, until: int
) -> x509.CertificateBuilder:
    start = datetime.fromtimestamp(now, UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - _CLOCK_SKEW)
        .not_valid_after(datetime.fromtimestamp(until, UTC))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
