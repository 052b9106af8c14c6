"""A new server certificate from the old authority: sites that trusted the old one trust it."""

import shutil
from pathlib import Path

import pytest
from cryptography import x509

from client.join import join
from server.engine.renewed import Shown
from server.federation import Federation, create_federation, load_federation
from server.membership.admissions import Admissions, admission_path
from server.membership.authority import AUTHORITY_DAYS, SERVER_DAYS, certificate_pem
from server.membership.authority_files import bring_next, change, load_authority
from server.membership.enrolment import ENTRY_DAYS, admit, invite
from server.membership.renewal import Step, renew_authority, renew_server_certificate, renew_sites, waiting_sites
from shared.admission import Admission, read_admission
from shared.certificates import ends_at, is_issued_by
from shared.errors import ConfigError, StudyError, TrustError

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


def enrolled(made: Federation, *names: str) -> None:
    for name in names:
        request = join(invite(made.folder, name, now=NOW), made.folder.parent / name, now=NOW)
        admit(made.folder, request.read_bytes(), now=NOW)


def admission(made: Federation, site: str = "north") -> Admission:
    data = admission_path(made.folder, site).read_bytes()
    return read_admission(data, coordinator_key=made.coordinator_key.public_key())


def taken(made: Federation, *sites: str) -> None:
    """The sites answer a message that carried their newest admission."""
    for site in sites:
        carried = Admissions(made.folder).pending(site)
        assert carried is not None
        Admissions(made.folder).taken(site, carried)
        assert Admissions(made.folder).pending(site) is None


def trusts(made: Federation, site: str = "north") -> int:
    """How many authorities the site's newest admission names; the server's certificate is of one of them."""
    roots = x509.load_pem_x509_certificates(admission(made, site).authorities.encode())
    assert any(is_issued_by(made.server_certificate.read_bytes(), root) for root in roots)
    return len(roots)


def test_a_site_stays_longer_with_the_keys_it_has(made: Federation) -> None:
    enrolled(made, "north", "south")
    before, old = load_federation(made.folder).roster, admission(made)
    (entry,) = renew_sites(made.folder, ["north"], now=NOW + 700 * DAY)
    roster = load_federation(made.folder).roster
    assert entry.not_after == NOW + (700 + ENTRY_DAYS) * DAY
    assert roster.by_site("north") == entry
    assert (entry.transport_key, entry.not_before) == (before.by_site("north").transport_key, NOW)
    assert roster.by_site("south") == before.by_site("south")
    assert roster.version == before.version + 1
    assert admission(made).number > old.number
    assert ends_at(admission(made).certificate.encode()) == entry.not_after


def test_a_site_that_is_not_on_the_roster_is_not_renewed(made: Federation) -> None:
    enrolled(made, "north")
    before = (made.folder / "roster.signed").read_bytes()
    with pytest.raises(TrustError, match="'south' is not on the roster"):
        renew_sites(made.folder, ["north", "south"], now=NOW)
    assert (made.folder / "roster.signed").read_bytes() == before


def test_one_authority_takes_the_others_place_and_no_site_meets_a_server_it_does_not_trust(made: Federation) -> None:
    enrolled(made, "north", "south")
    old = made.ca_certificate.read_bytes()
    taken(made, "north", "south")
    assert renew_authority(made.folder, now=NOW + 1) is Step.COMING
    assert made.ca_certificate.read_bytes() == old
    assert [trusts(made, site) for site in ("north", "south")] == [2, 2]
    taken(made, "north")
    with pytest.raises(StudyError, match="Not every site has taken its admission yet: south"):
        renew_authority(made.folder, now=NOW + 2)
    taken(made, "south")
    assert renew_authority(made.folder, now=NOW + 2) is Step.GOING
    new = made.ca_certificate.read_bytes()
    assert new != old
    assert trusts(made) == 2
    assert is_issued_by(made.server_certificate.read_bytes(), x509.load_pem_x509_certificate(new))
    assert waiting_sites(load_federation(made.folder), now=NOW) == ("north", "south")
    taken(made, "north")
    assert renew_authority(made.folder, now=NOW + 3, without={"south"}) is Step.GONE
    assert trusts(made) == 1
    assert made.trusted() == new.decode()
    enrolled(made, "west")
    assert admission(made, "west").authorities == new.decode()
    assert [p.name for p in sorted((made.folder / "ca").iterdir())] == ["certificate.pem", "key.pem"]


def test_a_change_of_authority_that_was_cut_short_is_finished(made: Federation) -> None:
    enrolled(made, "north")
    bring_next(made.folder, name="lungs", now=NOW)  # and then the power was cut
    assert waiting_sites(load_federation(made.folder), now=NOW) == ("north",)
    with pytest.raises(StudyError, match="Not every site"):
        renew_authority(made.folder, now=NOW + 1)
    assert trusts(made) == 2
    taken(made, "north")
    ca = made.folder / "ca"
    (ca / "old-key.pem").write_bytes((ca / "key.pem").read_bytes())
    (ca / "old.pem").write_bytes((ca / "certificate.pem").read_bytes())
    (ca / "certificate.pem").write_bytes(
        (ca / "next" / "certificate.pem").read_bytes()
    )  # cut again: the key is to come
    with pytest.raises(StudyError, match="Not every site"):
        renew_authority(made.folder, now=NOW + 2)
    assert trusts(made) == 2
    assert is_issued_by(
        made.server_certificate.read_bytes(), x509.load_pem_x509_certificate(made.ca_certificate.read_bytes())
    )


@pytest.mark.parametrize("gone", [(), ("certificate.pem",), ("key.pem",), ("key.pem", "certificate.pem")])
def test_a_folder_of_the_coming_authority_that_went_in_part_stops_nothing(
    made: Federation, gone: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    bring_next(made.folder, name="lungs", now=NOW)
    coming = (made.folder / "ca" / "next" / "certificate.pem").read_bytes()

    def cut(folder: Path, **_: object) -> None:
        for name in gone if folder.is_dir() else ():
            (folder / name).unlink()
        if folder.is_dir():
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", cut)
        with pytest.raises(KeyboardInterrupt):
            change(made.folder, now=NOW)
    assert certificate_pem(load_authority(made.folder, now=NOW)[0]) == coming
    bring_next(made.folder, name="lungs", now=NOW)  # what lies about is in nobody's way
    assert made.trusted().count("BEGIN CERTIFICATE") == 3


@pytest.mark.parametrize("gone", ["certificate.pem", "key.pem"])
def test_a_coming_authority_without_a_file_is_done(made: Federation, gone: str) -> None:
    bring_next(made.folder, name="lungs", now=NOW)
    ca = made.folder / "ca"
    if gone == "key.pem":
        for name in ("certificate.pem", "key.pem"):
            (ca / name).write_bytes((ca / "next" / name).read_bytes())
    (ca / "next" / gone).unlink()
    assert load_authority(made.folder, now=NOW)
    assert not (ca / "next").exists()


def test_a_superlink_is_started_anew_when_a_round_was_committed_or_nothing_runs(made: Federation) -> None:
    def shown() -> Shown:
        return Shown(made, clock=lambda: NOW)

    idle, busy, late = shown(), shown(), Shown(made, clock=lambda: NOW + SERVER_DAYS * DAY - 60)
    assert not idle.outdated(dict)
    renew_server_certificate(made.folder, now=NOW + 5)
    assert idle.outdated(dict)
    assert not busy.outdated(lambda: {"lungs": 3, "hearts": 0})
    assert not busy.outdated(lambda: {"lungs": 3, "hearts": 0})
    assert busy.outdated(lambda: {"lungs": 3, "hearts": 1})
    assert late.outdated(lambda: {"lungs": 3})
    assert not shown().outdated(dict)


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
