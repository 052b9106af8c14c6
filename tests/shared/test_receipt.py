"""A receipt is the coordinator's statement by itself: whatever of it is changed, its signature does not hold."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.errors import TrustError
from shared.heads import Head
from shared.receipt import LONGEST, Receipt, read_receipt

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FIELDS: dict[str, Any] = {
    "site": "north",
    "study": "chest",
    "round": 1,
    "outcome": "counted",
    "update_digest": "a" * 64,
    "model_digest": "b" * 64,
    "head": Head(n=3, hash="e2c488a857e917cb439fb8469cf443d45fca12b1d526d820db581a9db3a54fa9"),
    "root": "a2c69fbc5554ed4550489b9b879e6a02fa69ecdd8d2778367d2938078f4e2493",
    "time": "2026-01-02T03:04:08Z",
}
RECEIPT = Receipt(**FIELDS).signed(KEY)


def test_it_holds_for_the_coordinators_key_alone() -> None:
    assert RECEIPT.holds(KEY.public_key())
    assert not RECEIPT.holds(Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key())
    assert not Receipt(**FIELDS).holds(KEY.public_key())


@pytest.mark.parametrize(
    "change",
    [
        *({"site": "south"}, {"study": "lungs"}, {"round": 2}, {"outcome": "late"}, {"update_digest": None}),
        *({"model_digest": "d" * 64}, {"head": None}, {"head": Head(n=4, hash="4" * 64)}, {"root": "d" * 64}),
        {"time": "2027-01-02T03:04:08Z"},
    ],
)
def test_no_word_of_it_can_be_changed(change: dict[str, Any]) -> None:
    assert not RECEIPT.model_copy(update=change).holds(KEY.public_key())


def test_its_line_reads_back_the_same() -> None:
    assert read_receipt(RECEIPT.line()) == RECEIPT
    assert read_receipt(RECEIPT.line()).holds(KEY.public_key())
    assert len(RECEIPT.line()) < LONGEST // 4


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"\n", b"{}", b"[1]\n", b"\xff", RECEIPT.line().replace(b'"round":1', b'"round": 1')),
        *(RECEIPT.line().replace(b'"round":1', b'"round":-1'), RECEIPT.line().replace(b"{", b'{"a":1,', 1)),
        RECEIPT.line()[:-1].replace(b"north", b"n" * LONGEST),
    ],
)
def test_what_is_no_receipt_is_refused(line: bytes) -> None:
    with pytest.raises(TrustError, match="no receipt"):
        read_receipt(line)


def test_it_is_the_documented_vector() -> None:
    """docs/ledger-format.md shows the same."""
    halves = (
        "467aee952726a450b33cfe34284576862cbb08e1deba18b49984da7c66af1dc7",
        "356ba1ffc9c97233f08420cc9cf7aa23e48941fbbe00c5b33b6b84584dafd404",
    )
    assert RECEIPT.signature == "".join(halves)
