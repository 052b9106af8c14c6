"""Only who was invited is admitted, once, with keys of their own."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from live_federation import wardround

from server.federation import create_federation, load_federation
from server.membership import enrolment
from server.membership.enrolment import admit, invite, revoke
from server.membership.revoked import revoked_serials
from shared.enrolment import Invitation, make_join_request, read_invitation
from shared.errors import ConfigError, TrustError
from shared.keys import make_identity_key, make_transport_key

NOW = 1_800_000_000
DAY = 86400


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return create_federation(tmp_path / "f", name="lungs", host="fl.example", fleet_port=9092, now=NOW).folder


def answer(
    invitation: Invitation,
    *,
    transport: EllipticCurvePrivateKey | None = None,
    identity: Ed25519PrivateKey | None = None,
    **changed: Any,
) -> bytes:
    return make_join_request(
        invitation.model_copy(update=changed),
        transport_key=transport or make_transport_key(),
        identity_key=identity or make_identity_key(),
    )


def invited(folder: Path, site: str = "north", *, now: int = NOW) -> Invitation:
    return read_invitation(invite(folder, site, now=now).read_bytes())


def raising(*_: object) -> None:
    raise KeyboardInterrupt


def versions(folder: Path) -> tuple[int, tuple[str, ...]]:
    roster = load_federation(folder).roster
    return roster.version, roster.sites()


def test_an_invitation_says_where_and_who(folder: Path) -> None:
    invitation, federation = invited(folder), load_federation(folder)
    assert (invitation.federation, invitation.site) == ("lungs", "north")
    assert (invitation.host, invitation.fleet_port) == ("fl.example", 9092)
    assert invitation.ca_certificate == federation.ca_certificate.read_text()
    assert invitation.coordinator_fingerprint() == federation.fingerprint()
    assert invitation.patient_salt == federation.patient_salt
    assert invitation.expires == NOW + 14 * DAY
    assert (folder / "invitations" / "north.json").stat().st_mode & 0o777 == 0o600


def test_an_invited_site_is_admitted(folder: Path) -> None:
    entry = admit(folder, answer(invited(folder)), now=NOW + 5)
    assert (entry.site, entry.not_before, entry.not_after) == ("north", NOW + 5, NOW + 5 + 730 * DAY)
    assert load_federation(folder).roster.by_site("north") == entry
    assert versions(folder) == (2, ("north",))


def test_admitting_again_changes_nothing_even_after_the_invitation_ended(folder: Path) -> None:
    request = answer(invited(folder))
    first = admit(folder, request, now=NOW)
    assert admit(folder, request, now=NOW + 100 * DAY) == first
    assert versions(folder) == (2, ("north",))


def test_an_admission_that_was_cut_short_is_finished_by_the_same_request(folder: Path) -> None:
    request = answer(invited(folder))
    invitation, admission = folder / "invitations" / "north.json", folder / "admissions" / "north.json"
    secret = invitation.read_bytes()
    first = admit(folder, request, now=NOW)
    invitation.write_bytes(secret)  # as a kill right after the roster was written leaves both
    admission.unlink()
    assert admit(folder, request, now=NOW + 9) == first
    assert (invitation.exists(), admission.exists()) == (False, True)


def test_a_taken_name_is_refused(folder: Path) -> None:
    invitation = invited(folder)
    admit(folder, answer(invitation), now=NOW)
    with pytest.raises(TrustError, match="'north' is not admitted: it is on the roster with other keys"):
        admit(folder, answer(invitation), now=NOW)
    assert versions(folder) == (2, ("north",))


def test_an_expired_invitation_is_refused(folder: Path) -> None:
    request = answer(invited(folder))
    with pytest.raises(TrustError, match="has expired"):
        admit(folder, request, now=NOW + 14 * DAY)
    assert admit(folder, request, now=NOW + 14 * DAY - 1).site == "north"


def test_a_new_invitation_ends_the_old_one(folder: Path) -> None:
    old, new = invited(folder), invited(folder)
    with pytest.raises(TrustError, match="another invitation"):
        admit(folder, answer(old), now=NOW)
    assert admit(folder, answer(new), now=NOW).site == "north"


def test_nobody_is_telephoned_about_a_request_that_is_refused_anyway(folder: Path, tmp_path: Path) -> None:
    late = answer(invited(folder, now=int(time.time())))
    (request := tmp_path / "north.json").write_bytes(late)
    assert "Nobody was asked" in wardround("federation", "admit", folder, request).output
    invited(folder, now=int(time.time()))
    done = wardround("federation", "admit", folder, request)
    assert (done.exit_code, "another invitation than the last one" in " ".join(done.output.split())) == (4, True)
    assert "newest invitation" in " ".join(done.output.split())
    assert versions(folder) == (1, ())


def test_who_was_not_invited_is_refused(folder: Path) -> None:
    invitation = invited(folder)
    for changed, why in (({"site": "south"}, "not invited"), ({"token": "00" * 32}, "another invitation")):
        with pytest.raises(TrustError, match=why):
            admit(folder, answer(invitation, **changed), now=NOW)
    assert versions(folder) == (1, ())


def test_one_sites_invitation_does_not_admit_another(folder: Path) -> None:
    north, _ = invited(folder), invited(folder, "south")
    with pytest.raises(TrustError, match="'south' is not admitted: it answers another invitation"):
        admit(folder, answer(north, site="south"), now=NOW)


def test_a_request_for_another_federation_is_refused(folder: Path) -> None:
    with pytest.raises(TrustError, match="asks to join federation 'hearts'"):
        admit(folder, answer(invited(folder), federation="hearts"), now=NOW)


def test_keys_of_somebody_else_are_refused(folder: Path) -> None:
    transport, identity = make_transport_key(), make_identity_key()
    admit(folder, answer(invited(folder), transport=transport, identity=identity), now=NOW)
    south = invited(folder, "south")
    coordinator = load_federation(folder).coordinator_key
    for request in (
        answer(south, transport=transport),
        answer(south, identity=identity),
        answer(south, identity=coordinator),
    ):
        with pytest.raises(TrustError, match="belongs to somebody else"):
            admit(folder, request, now=NOW)
    assert versions(folder) == (2, ("north",))


@pytest.mark.parametrize("request_bytes", [b"", b"{}", b"x" * 100_000, b"[" * 5000])
def test_bytes_that_are_no_request_are_refused(folder: Path, request_bytes: bytes) -> None:
    with pytest.raises(TrustError):
        admit(folder, request_bytes, now=NOW)


@pytest.mark.parametrize("site", ["../../escape", "coordinator", "", "a/b", "North", "a\0b"])
def test_names_that_are_no_sites_are_not_invited(folder: Path, site: str) -> None:
    with pytest.raises(ConfigError, match="site"):
        invite(folder, site, now=NOW)
    assert list((folder / "invitations").iterdir()) == []
    with pytest.raises(TrustError, match="not on the roster"):
        revoke(folder, site)


def test_a_site_on_the_roster_is_not_invited_again_until_revoked(folder: Path) -> None:
    request = answer(invited(folder))
    admit(folder, request, now=NOW)
    with pytest.raises(ConfigError, match="on the roster already"):
        invite(folder, "north", now=NOW)
    assert revoke(folder, "north").entries == ()
    with pytest.raises(TrustError, match="not invited"):
        admit(folder, request, now=NOW)
    assert admit(folder, answer(invited(folder)), now=NOW).site == "north"
    assert versions(folder) == (4, ("north",))


@pytest.mark.parametrize("cut", ["forget_admission", "replace_roster"])
def test_a_revocation_that_was_cut_short_is_done_again(folder: Path, cut: str, monkeypatch: pytest.MonkeyPatch) -> None:
    admit(folder, answer(invited(folder)), now=NOW)
    serials = (folder / "admissions" / "north.serials").read_text().split()
    with monkeypatch.context() as patch:
        patch.setattr(enrolment, cut, raising)
        with pytest.raises(KeyboardInterrupt):
            revoke(folder, "north")
    assert revoke(folder, "north").entries == ()
    assert [str(serial) for serial in revoked_serials(folder)] == serials
    with pytest.raises(TrustError, match="not on the roster"):
        revoke(folder, "north")


def test_what_is_left_of_a_site_off_the_roster_is_revoked(folder: Path) -> None:
    admit(folder, answer(invited(folder)), now=NOW)
    enrolment.replace_roster(load_federation(folder), ())  # and then the power was cut
    assert revoke(folder, "north").version == 3
    assert revoked_serials(folder) and list((folder / "admissions").iterdir()) == []


def test_a_site_whose_entry_has_ended_is_invited_again_and_keeps_its_keys(folder: Path) -> None:
    keys = {"transport": make_transport_key(), "identity": make_identity_key()}
    old = answer(invited(folder), **keys)
    first = admit(folder, old, now=NOW)
    with pytest.raises(ConfigError, match="on the roster already"):
        invite(folder, "north", now=first.not_after - 1)
    later = first.not_after
    new = answer(invited(folder, now=later), **keys)
    with pytest.raises(TrustError, match="another invitation"):
        admit(folder, old, now=later)
    entry = admit(folder, new, now=later)
    assert (entry.transport_key, entry.not_before) == (first.transport_key, later)
    assert load_federation(folder).roster.entries == (entry,)
    assert versions(folder) == (3, ("north",))


def test_an_entry_that_has_ended_is_replaced_by_one_with_new_keys(folder: Path) -> None:
    later = admit(folder, answer(invited(folder)), now=NOW).not_after
    entry = admit(folder, answer(invited(folder, now=later)), now=later)
    assert load_federation(folder).roster.entries == (entry,)


def test_nothing_happens_outside_a_federation(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a federation folder"):
        invite(tmp_path, "north", now=NOW)
    with pytest.raises(ConfigError, match="not a federation folder"):
        admit(tmp_path, b"", now=NOW)
    assert list(tmp_path.iterdir()) == []


def test_sites_admitted_at_once_all_stand_on_the_roster_in_order(folder: Path) -> None:
    requests = [answer(invited(folder, f"site-{number}")) for number in (3, 1, 2, 0)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda request: admit(folder, request, now=NOW), requests))
    assert versions(folder) == (5, ("site-0", "site-1", "site-2", "site-3"))
