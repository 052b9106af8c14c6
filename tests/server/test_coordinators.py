"""A second coordinator is named, the lead changes hands, and what was cut short is finished."""

from pathlib import Path

import pytest
from live_federation import wardround

from client.join import join, load_enrolment
from server import coordinators
from server.federation import Federation, create_federation, load_federation, serving_lock
from server.membership.admissions import admission_path
from server.membership.enrolment import admit, invite, revoke
from server.succession import load_succession, offer_path, succession_path
from shared.admission import read_admission
from shared.coordinator_request import read_coordinator_request
from shared.durable import try_lock
from shared.errors import ConfigError, ResourceError, TrustError
from shared.keys import identity_hex, load_identity_key
from shared.mandate import read_mandate

NOW = 1_800_000_000


@pytest.fixture
def made(tmp_path: Path) -> Federation:
    founded = create_federation(tmp_path / "f", name="lungs", host="fl.example", fleet_port=9092, now=NOW)
    request = join(invite(founded.folder, "north", now=NOW), tmp_path / "north", now=NOW)
    admit(founded.folder, request.read_bytes(), now=NOW)
    return load_federation(founded.folder)


def named(made: Federation, name: str = "ben", own_name: str | None = "ann") -> Path:
    """Name a coordinator; where their own key lies."""
    own = made.folder.parent / name
    asked = read_coordinator_request(coordinators.ask(own, name, federation="lungs").read_bytes())
    coordinators.add(made.folder, asked, now=NOW, own_name=own_name)
    return own / "coordinator.key"


def handed_over(made: Federation) -> Federation:
    key = load_identity_key(named(made))
    coordinators.offer(made.folder, "ben", now=NOW + 1)
    coordinators.take_over(made.folder, key, now=NOW + 2)
    return load_federation(made.folder)


def test_one_who_is_named_signs_nothing_yet(made: Federation) -> None:
    key = load_identity_key(named(made))
    after = load_federation(made.folder)
    assert after.succession is not None
    assert after.succession.newest.lead == "ann"
    assert after.coordinator_keys.keys == (made.coordinator_key.public_key(),)
    assert after.roster == made.roster
    with pytest.raises(ConfigError, match="Nobody has offered"):
        coordinators.take_over(made.folder, key, now=NOW)


def test_the_lead_changes_hands_and_everything_is_signed_anew(made: Federation) -> None:
    after = handed_over(made)
    ben = load_identity_key(made.folder.parent / "ben" / "coordinator.key")
    assert identity_hex(after.coordinator_key.public_key()) == identity_hex(ben.public_key())
    assert after.roster.coordinator_key == identity_hex(ben.public_key())
    assert after.roster.version == made.roster.version + 1
    assert after.roster.entries == made.roster.entries
    assert after.coordinator_keys.keys == (made.coordinator_key.public_key(), ben.public_key())
    read_admission(admission_path(made.folder, "north").read_bytes(), coordinator_key=ben.public_key())
    assert not offer_path(made.folder).exists()
    invite(made.folder, "south", now=NOW)  # and the new lead goes on


@pytest.mark.parametrize("after", ["mandates", "key", "roster", "admissions"])
def test_a_hand_over_that_was_cut_short_is_finished_by_taking_over_again(
    made: Federation, after: str, tmp_path: Path
) -> None:
    key = load_identity_key(named(made))
    coordinators.offer(made.folder, "ben", now=NOW)
    offer = offer_path(made.folder).read_bytes()
    kept = {name: (made.folder / name).read_bytes() for name in ("coordinator.key", "roster.signed")}
    admission = admission_path(made.folder, "north").read_bytes()
    coordinators.take_over(made.folder, key, now=NOW)
    offer_path(made.folder).write_bytes(offer)
    if after in ("mandates",):
        (made.folder / "coordinator.key").write_bytes(kept["coordinator.key"])
    if after in ("mandates", "key"):
        (made.folder / "roster.signed").write_bytes(kept["roster.signed"])
    if after != "admissions":
        admission_path(made.folder, "north").write_bytes(admission)
    if after == "mandates":  # the old key is here still, and signs nothing
        with pytest.raises(
            TrustError,
            match=r"is of ann, who gave up the lead on .*nothing any more: ben leads",
        ):
            invite(made.folder, "south", now=NOW)
    coordinators.take_over(made.folder, key, now=NOW)
    whole = load_federation(made.folder)
    assert whole.roster.version == made.roster.version + 1
    read_admission(admission_path(made.folder, "north").read_bytes(), coordinator_key=key.public_key())
    with pytest.raises(ConfigError, match="Nobody has offered"):
        coordinators.take_over(made.folder, key, now=NOW)


def test_a_served_federation_changes_no_hands(made: Federation) -> None:
    key = load_identity_key(named(made))
    coordinators.offer(made.folder, "ben", now=NOW)
    serving = try_lock(serving_lock(made.folder))
    assert serving is not None
    with serving, pytest.raises(ResourceError, match="is served"):
        coordinators.take_over(made.folder, key, now=NOW)
    assert load_federation(made.folder).coordinator_keys.keys == (made.coordinator_key.public_key(),)


def test_another_key_does_not_take_over(made: Federation) -> None:
    named(made)
    cyd = load_identity_key(named(made, "cyd", own_name=None))
    coordinators.offer(made.folder, "ben", now=NOW)
    with pytest.raises(TrustError, match="offered to ben"):
        coordinators.take_over(made.folder, cyd, now=NOW)


def test_a_change_voids_an_offer(made: Federation) -> None:
    key = load_identity_key(named(made))
    coordinators.offer(made.folder, "ben", now=NOW)
    offer = offer_path(made.folder).read_bytes()
    coordinators.remove(made.folder, "ben", now=NOW)
    offer_path(made.folder).write_bytes(offer)  # kept, and laid there again
    with pytest.raises(TrustError, match="does not follow"):
        coordinators.take_over(made.folder, key, now=NOW)
    assert load_federation(made.folder).coordinator_keys.keys == (made.coordinator_key.public_key(),)


def test_an_offer_that_was_given_cannot_be_taken_back(made: Federation) -> None:
    key = load_identity_key(named(made))
    before = load_federation(made.folder).succession
    assert before is not None
    done = wardround("federation", "coordinator", "hand-over", made.folder, "ben")
    assert "cannot be taken back" in " ".join(done.output.split())
    kept = read_mandate(offer_path(made.folder).read_bytes())
    coordinators.remove(made.folder, "ben", now=NOW)
    elsewhere = before.with_mandate(kept.accepted(key))  # sound, for who has not followed the removal
    site = load_enrolment(made.folder.parent / "north").coordinators
    site.take(succession_path(made.folder).read_bytes(), note=lambda *_: None)
    with pytest.raises(TrustError, match="two mandates of number 2"):
        site.take(elsewhere.encode(), note=lambda *_: None)


def test_the_last_and_the_lead_are_not_removed(made: Federation) -> None:
    with pytest.raises(ConfigError, match="'ann' is no coordinator"):
        coordinators.remove(made.folder, "ann", now=NOW)
    named(made)
    with pytest.raises(ConfigError, match="ann leads and cannot be removed"):
        coordinators.remove(made.folder, "ann", now=NOW)
    coordinators.remove(made.folder, "ben", now=NOW)
    with pytest.raises(ConfigError, match="ann is the last coordinator"):
        coordinators.remove(made.folder, "ann", now=NOW)


def test_who_led_never_comes_back_with_the_old_key(made: Federation) -> None:
    old = made.folder.parent / "again"
    old.mkdir()
    (old / "coordinator.key").write_bytes((made.folder / "coordinator.key").read_bytes())
    (old / "coordinator.key").chmod(0o600)
    handed_over(made)
    asked = read_coordinator_request(coordinators.ask(old, "ann", federation="lungs").read_bytes())
    with pytest.raises(TrustError, match="given up the lead"):
        coordinators.add(made.folder, asked, now=NOW)


def test_requests_that_are_not_taken(made: Federation, tmp_path: Path) -> None:
    def asked(name: str, folder: str, federation: str = "lungs") -> None:
        request = coordinators.ask(tmp_path / folder, name, federation=federation)
        coordinators.add(made.folder, read_coordinator_request(request.read_bytes()), now=NOW, own_name="ann")

    with pytest.raises(TrustError, match="'hearts'"):
        asked("ben", "x", "hearts")
    with pytest.raises(TrustError, match="bears the name"):
        asked("ann", "x")
    asked("ben", "x")
    before = load_federation(made.folder)
    asked("ben", "x")  # the same again changes nothing
    assert load_federation(made.folder).succession == before.succession
    with pytest.raises(TrustError, match="belongs to somebody else"):
        asked("cyd", "x")
    with pytest.raises(TrustError, match="bears the name"):
        asked("ben", "y")
    with pytest.raises(ConfigError, match="is not one"):
        asked("Dr. B", "z")
    request = (tmp_path / "y" / "ben-coordinator-request.json").read_bytes()
    with pytest.raises(TrustError, match="changed after it was signed"):
        read_coordinator_request(request.replace(b'"name":"ben"', b'"name":"bob"'))


def test_the_first_says_their_own_name(made: Federation) -> None:
    with pytest.raises(ConfigError, match="bears no name"):
        named(made, own_name=None)
    assert not succession_path(made.folder).exists()


def test_a_site_invited_by_the_first_joins_under_the_second(made: Federation, tmp_path: Path) -> None:
    invited = invite(made.folder, "south", now=NOW)
    request = join(invited, tmp_path / "south", now=NOW)
    handed_over(made)
    admit(made.folder, request.read_bytes(), now=NOW)
    enrolled = load_enrolment(tmp_path / "south")
    enrolled.coordinators.take(succession_path(made.folder).read_bytes(), note=lambda *_: None)
    ben = load_identity_key(made.folder.parent / "ben" / "coordinator.key")
    assert enrolled.coordinators.key == ben.public_key()
    revoke(made.folder, "north")
    again = invite(made.folder, "north", now=NOW)  # by the second, for a site that knows the first alone
    with pytest.raises(TrustError, match="a coordinator whom this site does not know"):
        join(again, tmp_path / "north", now=NOW)
    known = load_enrolment(tmp_path / "north").coordinators
    known.take(succession_path(made.folder).read_bytes(), note=lambda *_: None)
    join(again, tmp_path / "north", now=NOW)
    assert load_enrolment(tmp_path / "north").coordinators.key == ben.public_key()


def test_mandates_that_were_changed_in_the_folder_are_noticed(made: Federation) -> None:
    handed_over(made)
    path = succession_path(made.folder)
    path.write_bytes(path.read_bytes().replace(b'"lead":"ben"', b'"lead":"bob"'))
    with pytest.raises(TrustError, match="fields outside"):
        load_federation(made.folder)
    with pytest.raises(TrustError):
        load_succession(made.folder, federation="lungs")
