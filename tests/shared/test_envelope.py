"""An envelope opens for its purpose, signer and key, and for nothing else."""

import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from shared.envelope import MAGIC, Opened, open_envelope, seal
from shared.errors import ProtocolError, TrustError

NORTH = Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
SOUTH = Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32)
KEYS = {"north": NORTH.public_key(), "south": SOUTH.public_key()}
BODY = b'{"round":1}'


def sealed(body: bytes = BODY, *, signer: str = "north", purpose: str = "work") -> bytes:
    return seal(body, key=NORTH, signer=signer, purpose=purpose)


@given(st.binary(max_size=500), st.text(min_size=1, max_size=60))
def test_what_was_sealed_opens(body: bytes, purpose: str) -> None:
    data = seal(body, key=SOUTH, signer="south", purpose=purpose)
    assert open_envelope(data, keys=KEYS, purpose=purpose) == Opened("south", body)


def test_the_layout_is_the_documented_one() -> None:
    data = sealed()
    assert data[:8] == MAGIC
    assert struct.unpack(">HB", data[8:11]) == (1, 5)
    assert data[11:16] == b"north"
    assert data[16 + 64 :] == BODY
    said = MAGIC + struct.pack(">HB", 1, 4) + b"work" + b"\x05north" + BODY
    NORTH.public_key().verify(data[16:80], said)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_any_changed_byte_is_noticed(place: int, change: int) -> None:
    data = bytearray(sealed())
    data[place % len(data)] ^= change
    with pytest.raises(TrustError):
        open_envelope(bytes(data), keys=KEYS, purpose="work")


@pytest.mark.parametrize("length", range(len(sealed())))
def test_any_shorter_envelope_is_refused(length: int) -> None:
    with pytest.raises(TrustError):
        open_envelope(sealed()[:length], keys=KEYS, purpose="work")


def test_bytes_after_the_body_are_noticed() -> None:
    with pytest.raises(TrustError, match="valid signature"):
        open_envelope(sealed() + b" ", keys=KEYS, purpose="work")


def test_another_purpose_does_not_open() -> None:
    with pytest.raises(TrustError, match="purpose"):
        open_envelope(sealed(purpose="work for north"), keys=KEYS, purpose="work for south")


def test_purpose_signer_and_body_do_not_run_into_each_other() -> None:
    key = NORTH.public_key()
    moved = sealed(b"north" + BODY, purpose="work")
    with pytest.raises(TrustError):
        open_envelope(moved[:80] + BODY, keys={"north": key}, purpose="worknorth")


def test_one_site_cannot_sign_as_another() -> None:
    forged = seal(BODY, key=SOUTH, signer="north", purpose="work")
    with pytest.raises(TrustError, match="'north' does not carry a valid signature"):
        open_envelope(forged, keys=KEYS, purpose="work")


def test_a_relabelled_signer_is_noticed() -> None:
    same_key = {"north": NORTH.public_key(), "nirth": NORTH.public_key()}
    with pytest.raises(TrustError, match="'nirth'"):
        open_envelope(sealed().replace(b"north", b"nirth"), keys=same_key, purpose="work")


def test_an_unknown_signer_is_named() -> None:
    with pytest.raises(TrustError, match="'west'"):
        open_envelope(sealed(signer="west"), keys=KEYS, purpose="work")


def test_another_format_names_both_numbers() -> None:
    data = sealed()[:8] + struct.pack(">H", 7) + sealed()[10:]
    with pytest.raises(ProtocolError, match=r"format 7.*format 1") as caught:
        open_envelope(data, keys=KEYS, purpose="work")
    assert "same Wardround version" in caught.value.remedy


def test_too_large_is_refused_before_anything_is_read() -> None:
    with pytest.raises(TrustError, match="at most 10"):
        open_envelope(b"x" * 11, keys=KEYS, purpose="work", limit=10)
    assert open_envelope(sealed(), keys=KEYS, purpose="work", limit=len(sealed())).body == BODY


@pytest.mark.parametrize("data", [b"", b"{}", b"WARDENV", b"wardenv\n" + b"\0" * 100])
def test_foreign_bytes_are_no_envelope(data: bytes) -> None:
    with pytest.raises(TrustError, match="not a signed message"):
        open_envelope(data, keys=KEYS, purpose="work")


@pytest.mark.parametrize("signer", [b"../north", b"North", b"\xff\xfe", b"a b", b""])
def test_a_signer_that_is_no_name_is_refused(signer: bytes) -> None:
    data = MAGIC + struct.pack(">HB", 1, len(signer)) + signer + bytes(64) + BODY
    with pytest.raises(TrustError, match="header"):
        open_envelope(data, keys=KEYS, purpose="work")


@pytest.mark.parametrize(("signer", "purpose"), [("North", "work"), ("", "work"), ("north", ""), ("north", "w" * 256)])
def test_our_own_wrong_arguments_are_value_errors(signer: str, purpose: str) -> None:
    with pytest.raises(ValueError, match=r"signer|purpose"):
        sealed(signer=signer, purpose=purpose)


def test_messages_hold_no_content() -> None:
    secret = b"Jane Roe 1954"
    with pytest.raises(TrustError) as caught:
        open_envelope(sealed(secret)[:-1], keys=KEYS, purpose="work")
    assert "Jane" not in caught.value.what + caught.value.remedy


@given(st.binary(max_size=200), st.booleans())
def test_arbitrary_bytes_raise_nothing_but_our_own_errors(data: bytes, with_magic: bool) -> None:
    with pytest.raises(TrustError):
        open_envelope((MAGIC + b"\0\1" if with_magic else b"") + data, keys=KEYS, purpose="work")
