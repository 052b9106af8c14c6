"""A new server certificate from the old authority: sites that trusted the old one trust it."""

from pathlib import Path

import pytest
from cryptography import x509

from server.authority import AUTHORITY_DAYS, SERVER_DAYS
from server.federation import Federation, create_federation
from server.renewal import renew_server_certificate
from shared.errors import ConfigError, TrustError

NOW = 1_800_000_000
DAY = 86_400


@pytest.fixture
def made(tmp_path: Path) -> Federation:
    return create_federation(tmp_path / "f", name="lungs", host="fl.example", fleet_port=9092, now=NOW)


def server_certificate(made: Federation) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.server_certificate.read_bytes())


def test_the_new_one_has_the_same_key_names_and_authority_and_ends_later(made: Federation) -> None:
    old, later = server_certificate(made), NOW + 900 * DAY  # the old one has ended
    assert renew_server_certificate(made.folder, now=later) == later + SERVER_DAYS * DAY
    new = server_certificate(made)
    assert new.public_key() == old.public_key()
    assert new.serial_number != old.serial_number
    names = [c.extensions.get_extension_for_class(x509.SubjectAlternativeName).value for c in (old, new)]
    assert names[0] == names[1]
    new.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca_certificate.read_bytes()))


def test_nothing_but_the_certificate_changes(made: Federation) -> None:
    def others() -> dict[Path, bytes]:
        files = (path for path in made.folder.rglob("*") if path.is_file() and path != made.server_certificate)
        return {path: path.read_bytes() for path in files}

    before = others()
    renew_server_certificate(made.folder, now=NOW)
    assert others() == before


def test_an_authority_that_has_ended_issues_nothing(made: Federation) -> None:
    before = made.server_certificate.read_bytes()
    with pytest.raises(TrustError, match="authority itself has ended"):
        renew_server_certificate(made.folder, now=NOW + AUTHORITY_DAYS * DAY)
    made.ca_certificate.write_text("no certificate")
    with pytest.raises(TrustError, match="cannot be read"):
        renew_server_certificate(made.folder, now=NOW)
    assert made.server_certificate.read_bytes() == before


def test_a_folder_that_is_no_federation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a federation folder"):
        renew_server_certificate(tmp_path, now=NOW)
