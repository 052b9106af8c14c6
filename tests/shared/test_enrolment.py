"""An invitation is answered by whoever has seen it and holds the keys."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from invited import invitation, invitation_bytes

from shared.canonical import canonical
from shared.enrolment import JOIN_PURPOSE, make_join_request, read_invitation, read_join_request
from shared.errors import ProtocolError, TrustError
from shared.keys import identity_hex, make_identity_key, make_transport_key, prove_possession, transport_pem
from shared.signed_record import sign_record

INVITED = invitation_bytes()
INVITATION = read_invitation(INVITED)
TRANSPORT = make_transport_key()
IDENTITY = make_identity_key()
REQUEST = make_join_request(INVITATION, transport_key=TRANSPORT, identity_key=IDENTITY)


def changed(data: bytes, **fields: Any) -> bytes:
    return canonical({**json.loads(data), **fields})


def test_an_invitation_is_read_again_and_keeps_its_secrets_to_itself() -> None:
    assert read_invitation(INVITED) == INVITATION
    assert "5a5a" not in repr(INVITATION)
    assert "7e7e" not in str(INVITATION)


def test_every_field_of_an_invitation_counts_in_its_digest() -> None:
    others = [invitation(token="00" * 32), invitation(fleet_port=1)]
    assert len({one.digest() for one in [INVITATION, *others]}) == 3


@pytest.mark.parametrize("fields", [{"host": "evil.example"}, {"ca_certificate": "another"}, {"expires": 2000}])
def test_a_changed_invitation_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TrustError, match="The invitation was changed after it was signed"):
        read_invitation(changed(INVITED, **fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"site": "../../etc"},
        {"site": "coordinator"},
        {"fleet_port": "9092"},
        {"fleet_port": 0},
        {"token": ""},
        {"x": 1},
    ],
)
def test_an_unsound_invitation_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TrustError, match="invitation"):
        read_invitation(changed(INVITED, **fields))


def test_a_huge_file_is_refused_unread() -> None:
    with pytest.raises(TrustError, match="at most 65536"):
        read_invitation(b"[" * 70_000)
    with pytest.raises(TrustError, match="at most 65536"):
        read_join_request(b"[" * 70_000)


@pytest.mark.parametrize("data", [b"", b"\xff", b"{", b"[" * 20_000, b"7" * 5000, b'"\\ud800"', b"NaN"])
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(TrustError):
        read_join_request(data)


def test_another_format_is_named() -> None:
    with pytest.raises(ProtocolError, match="format 2; this software reads format 1"):
        read_join_request(changed(REQUEST, protocol=2))


def test_a_join_request_proves_itself() -> None:
    request = read_join_request(REQUEST)
    assert (request.site, request.transport_key) == ("north", transport_pem(TRANSPORT.public_key()))
    assert request.identity_key == identity_hex(IDENTITY.public_key())
    assert request.invitation == INVITATION.digest()
    assert request.answers(INVITATION)
    for secret in (b"PRIVATE", b"5a" * 32, b"7e" * 32):
        assert secret not in REQUEST


def test_who_has_another_invitation_or_only_its_digest_answers_none() -> None:
    assert not read_join_request(REQUEST).answers(invitation(token="00" * 32))
    other = make_identity_key()
    said = {**json.loads(REQUEST), "identity_key": identity_hex(other.public_key())}
    for field in ("possession", "code", "signature"):
        del said[field]
    said["possession"] = prove_possession(TRANSPORT, canonical(said), purpose=JOIN_PURPOSE)
    said["code"] = json.loads(REQUEST)["code"]
    caught = sign_record(said, key=other, signer="north", purpose=JOIN_PURPOSE)
    assert not read_join_request(caught).answers(INVITATION)


def test_a_join_request_for_a_transport_key_one_does_not_hold_is_refused() -> None:
    said = {**json.loads(REQUEST), "transport_key": transport_pem(make_transport_key().public_key())}
    del said["signature"]
    with pytest.raises(TrustError, match="does not hold its transport key"):
        read_join_request(sign_record(said, key=IDENTITY, signer="north", purpose=JOIN_PURPOSE))


@pytest.mark.parametrize(
    "fields",
    [
        {"federation": "hearts"},
        {"transport_key": transport_pem(make_transport_key().public_key())},
        {"invitation": "00" * 32},
    ],
)
def test_a_changed_join_request_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(TrustError, match="join request was changed"):
        read_join_request(changed(REQUEST, **fields))


def test_a_join_request_for_a_key_one_does_not_hold_is_refused() -> None:
    with pytest.raises(TrustError, match="join request was changed"):
        read_join_request(changed(REQUEST, identity_key=identity_hex(make_identity_key().public_key())))


def test_a_request_under_another_name_is_refused() -> None:
    with pytest.raises(TrustError, match="join request was changed"):
        read_join_request(changed(REQUEST, site="south"))


def test_a_proof_for_another_purpose_is_refused() -> None:
    said = {key: value for key, value in json.loads(REQUEST).items() if key != "signature"}
    elsewhere = sign_record(said, key=IDENTITY, signer="north", purpose="work")
    with pytest.raises(TrustError, match="join request was changed"):
        read_join_request(elsewhere)


@given(
    st.dictionaries(
        st.sampled_from(list(json.loads(REQUEST))),
        st.none() | st.integers(-2, 2) | st.text(max_size=5) | st.lists(st.none(), max_size=1),
        min_size=1,
    )
)
def test_arbitrary_fields_raise_nothing_but_our_own_errors(fields: dict[str, Any]) -> None:
    if any(json.loads(REQUEST)[name] != value for name, value in fields.items()):
        with pytest.raises(TrustError):
            read_join_request(changed(REQUEST, **fields))
