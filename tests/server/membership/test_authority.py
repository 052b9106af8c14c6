"""The certificates are those that a TLS client accepts for the federation's host, and no others."""

import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from server.membership.authority import SERVER_DAYS, certificate_pem, issue_authority, issue_server
from shared.certificates import ends_at
from shared.keys import make_transport_key

NOW = 1_800_000_000
DAY = 86400
KEY, SERVER_KEY = make_transport_key(), make_transport_key()
AUTHORITY = issue_authority(KEY, name="lungs", now=NOW)


def server(host: str) -> x509.Certificate:
    return issue_server(AUTHORITY, KEY, SERVER_KEY.public_key(), host=host, now=NOW)


def accepts(
    certificate: x509.Certificate, name: x509.GeneralName, *, at: int = NOW, root: x509.Certificate = AUTHORITY
) -> bool:
    policy = PolicyBuilder().store(Store([root])).time(datetime.fromtimestamp(at, UTC).replace(tzinfo=None))
    assert isinstance(name, x509.DNSName | x509.IPAddress)
    try:
        policy.build_server_verifier(name).verify(certificate, [])
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("fl.hospital.example", x509.DNSName("fl.hospital.example")),
        ("10.1.2.3", x509.IPAddress(ipaddress.ip_address("10.1.2.3"))),
        ("2001:db8::1", x509.IPAddress(ipaddress.ip_address("2001:db8::1"))),
    ],
)
def test_a_site_may_dial_the_host_localhost_and_the_loopback_address(host: str, name: x509.GeneralName) -> None:
    certificate = server(host)
    assert accepts(certificate, name)
    assert accepts(certificate, x509.DNSName("localhost"))
    assert accepts(certificate, x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    assert not accepts(certificate, x509.DNSName("elsewhere.example"))
    assert not accepts(certificate, x509.IPAddress(ipaddress.ip_address("10.9.9.9")))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_name_stands_once(host: str) -> None:
    names = server(host).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert len(list(names)) == 2


def test_certificates_end_in_time() -> None:
    certificate, name = server("fl.example"), x509.DNSName("fl.example")
    assert accepts(certificate, name, at=NOW - 3000)  # a site's clock a little behind
    assert not accepts(certificate, name, at=NOW - 4000)
    assert accepts(certificate, name, at=NOW + 824 * DAY)
    assert not accepts(certificate, name, at=NOW + 826 * DAY)
    years = (AUTHORITY.not_valid_after_utc - AUTHORITY.not_valid_before_utc).days / 365.25
    assert years == pytest.approx(10, abs=0.01)


def test_another_authority_of_the_same_name_is_not_trusted() -> None:
    other = issue_authority(make_transport_key(), name="lungs", now=NOW)
    assert not accepts(server("fl.example"), x509.DNSName("fl.example"), root=other)


def test_the_authority_signs_end_certificates_only() -> None:
    basic = AUTHORITY.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (basic.critical, basic.value.ca, basic.value.path_length) == (True, True, 0)
    usage = AUTHORITY.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_the_server_certificate_is_for_servers_only() -> None:
    extensions = server("fl.example").extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (False, True)


def test_the_end_of_a_certificate_is_read_from_its_pem() -> None:
    assert ends_at(certificate_pem(server("fl.example"))) == NOW + SERVER_DAYS * 86_400
    with pytest.raises(ValueError):
        ends_at(b"not a certificate")


def test_keys_are_p384_and_the_pem_is_readable() -> None:
    key = x509.load_pem_x509_certificate(certificate_pem(AUTHORITY)).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert key.curve.name == "secp384r1"
