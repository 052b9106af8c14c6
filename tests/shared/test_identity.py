"""A roster is signed, in one form, each name and key once, and never older than the last one seen."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from shared.canonical import canonical
from shared.envelope import seal
from shared.errors import ProtocolError, TrustError
from shared.identity import Host, Roster, RosterEntry, SiteName, read_record, read_roster, sign_roster
from shared.keys import identity_hex, make_identity_key, make_transport_key, transport_pem

COORDINATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TRANSPORT = [transport_pem(make_transport_key().public_key()) for _ in range(2)]
IDENTITY = [make_identity_key() for _ in range(2)]


def entry(number: int = 0, **changed: Any) -> RosterEntry:
    site = {
        "site": ("north", "south")[number],
        "transport_key": TRANSPORT[number],
        "identity_key": identity_hex(IDENTITY[number].public_key()),
        "not_before": 100,
        "not_after": 200,
    }
    return RosterEntry.model_validate({**site, **changed})


def roster(*entries: RosterEntry, **changed: Any) -> Roster:
    whole = {"federation": "lungs", "coordinator_key": identity_hex(COORDINATOR.public_key()), "version": 3}
    return Roster.model_validate({**whole, "entries": entries, **changed})


def reread(data: bytes, **changed: Any) -> Roster:
    return read_roster(data, **{"coordinator_key": COORDINATOR.public_key(), **changed})


def test_a_signed_roster_is_read_again() -> None:
    made = roster(entry(0), entry(1))
    assert reread(sign_roster(made, key=COORDINATOR)) == made
    assert made.sites() == ("north", "south")


def test_a_roster_of_another_signer_is_refused() -> None:
    with pytest.raises(TrustError, match="valid signature"):
        reread(sign_roster(roster(), key=IDENTITY[0]))


def test_a_site_cannot_sign_a_roster_in_its_own_name() -> None:
    forged = seal(canonical(roster().model_dump(mode="json")), key=COORDINATOR, signer="north", purpose="roster")
    with pytest.raises(TrustError, match="'north'"):
        reread(forged)


def test_a_message_for_another_purpose_is_no_roster() -> None:
    body = canonical(roster().model_dump(mode="json"))
    with pytest.raises(TrustError, match="purpose"):
        reread(seal(body, key=COORDINATOR, signer="coordinator", purpose="work"))


def test_an_older_roster_is_refused() -> None:
    data = sign_roster(roster(), key=COORDINATOR)
    assert reread(data, at_least=3).version == 3
    with pytest.raises(TrustError, match="version 3; version 4 was seen"):
        reread(data, at_least=4)


def test_a_roster_that_names_another_coordinator_is_refused() -> None:
    other = roster(coordinator_key=identity_hex(IDENTITY[0].public_key()))
    with pytest.raises(TrustError, match="another coordinator key"):
        reread(sign_roster(other, key=COORDINATOR))


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{}",
        b'{"a":1,"a":1}',
        canonical(roster().model_dump(mode="json")) + b" ",
        canonical({**roster().model_dump(mode="json"), "extra": 1}),
        canonical({**roster().model_dump(mode="json"), "version": "3"}),
        canonical({key: value for key, value in roster().model_dump(mode="json").items() if key != "entries"}),
    ],
)
def test_only_the_one_form_of_a_roster_is_read(body: bytes) -> None:
    with pytest.raises(TrustError):
        reread(seal(body, key=COORDINATOR, signer="coordinator", purpose="roster"))


@pytest.mark.parametrize(
    "entries",
    [
        (entry(1), entry(0)),
        (entry(0), entry(0)),
        (entry(0), entry(1, site="north")),
        (entry(0), entry(1, transport_key=TRANSPORT[0])),
        (entry(0), entry(1, identity_key=identity_hex(IDENTITY[0].public_key()))),
        (entry(0, identity_key=identity_hex(COORDINATOR.public_key())),),
    ],
)
def test_each_name_and_key_stands_once_in_order(entries: tuple[RosterEntry, ...]) -> None:
    with pytest.raises(ValidationError, match=r"once|one party"):
        roster(*entries)


@pytest.mark.parametrize(
    "name", ["coordinator", "../north", "north/south", "", "North", "north\n", "a" * 49, ".", "-a"]
)
def test_names_that_are_no_sites_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(SiteName).validate_python(name)


@pytest.mark.parametrize("host", ["fl.hospital.example", "localhost", "10.0.0.1", "2001:db8::1", "server-1"])
def test_hosts_are_names_or_addresses(host: str) -> None:
    assert TypeAdapter(Host).validate_python(host) == host


@pytest.mark.parametrize(
    "host", ["", "a b", "host:9092", "https://a", "-a.b", "10.0.0.256", "a..b", 'x"', "a\n", "h" * 64, "a." * 130 + "b"]
)
def test_other_hosts_are_refused(host: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Host).validate_python(host)


def test_lookups_name_the_site_and_the_roster() -> None:
    made = roster(entry(0), entry(1))
    assert made.by_site("south") == entry(1)
    assert made.by_transport_key(TRANSPORT[1]) == made.by_transport_key(TRANSPORT[1].encode()) == entry(1)
    with pytest.raises(TrustError, match=r"Site 'west' is not on the roster of federation 'lungs' \(version 3\)"):
        made.by_site("west")
    for stranger in ("", b"\xff", TRANSPORT[0].strip()):
        with pytest.raises(TrustError, match="node's key"):
            made.by_transport_key(stranger)


def test_keys_count_only_in_their_time() -> None:
    made = roster(entry(0), entry(1, not_after=150))
    assert set(made.identity_keys(at=149.9)) == {"north", "south"}
    assert set(made.identity_keys(at=150)) == {"north"}
    assert made.identity_keys(at=99) == made.identity_keys(at=200) == {}
    assert made.identity_keys(at=100)["north"] == IDENTITY[0].public_key()
    assert made.identity_keys(at=100, site="north") == {"north": IDENTITY[0].public_key()}
    assert made.identity_keys(at=150, site="south") == made.identity_keys(at=100, site="west") == {}


def test_an_entry_needs_some_time_and_a_sound_key() -> None:
    with pytest.raises(ValidationError, match="earlier"):
        entry(not_after=100)
    with pytest.raises(ValidationError, match="public key"):
        entry(transport_key="-----BEGIN PUBLIC KEY-----")


def test_another_format_names_both() -> None:
    with pytest.raises(ProtocolError, match="format 9; this software reads format 1"):
        read_record(Roster, b'{"protocol":9}', "roster")
