"""Mandates: each follows from the one before, by its lead's signature and the new lead's own."""

from typing import Any

import pytest

from shared.canonical import canonical, parse_canonical
from shared.errors import TrustError
from shared.keys import identity_hex, make_identity_key
from shared.mandate import (
    FIRST,
    LARGEST,
    Coordinator,
    Mandate,
    SignedMandate,
    Succession,
    carried,
    carry,
    follow,
    read_succession,
    sign_mandate,
)

KEYS = {name: make_identity_key() for name in ("ann", "ben", "cyd")}


def key_of(name: str) -> str:
    return identity_hex(KEYS[name].public_key())


def mandate(before: SignedMandate | None, lead: str, *names: str, by: str = "ann", **changed: Any) -> SignedMandate:
    """The next mandate, signed by somebody and, where the lead changes, accepted."""
    said: dict[str, Any] = {
        "federation": "lungs",
        "number": before.number + 1 if before else 1,
        "previous": before.digest() if before else FIRST,
        "issued": 1_800_000_000,
        "lead": lead,
        "coordinators": [Coordinator(name=one, key=key_of(one)) for one in sorted({lead, *names})],
    }
    signed = sign_mandate(Mandate.model_validate(said | changed), key=KEYS[by])
    return signed.accepted(KEYS[lead]) if before is not None and before.lead != lead else signed


def succession(*mandates: SignedMandate) -> Succession:
    return read_succession(Succession(mandates).encode())


FOUNDED = mandate(None, "ann", "ben")
HANDED = mandate(FOUNDED, "ben")
WHOLE = succession(FOUNDED, HANDED)


def test_the_lead_goes_from_one_to_the_other() -> None:
    assert [lead.name for lead in WHOLE.leads] == ["ann", "ben"]
    assert WHOLE.newest.leader().key == key_of("ben")
    assert WHOLE.keys().keys == (KEYS["ann"].public_key(), KEYS["ben"].public_key())
    assert read_succession(WHOLE.encode()) == WHOLE


BROKEN = [
    ([mandate(None, "ann", "ben", by="ben")], "not signed by ann"),
    ([FOUNDED, mandate(FOUNDED, "ben", by="ben")], "not signed by ann"),
    ([FOUNDED, HANDED.model_copy(update={"acceptance": ""})], "not accepted by ben"),
    ([FOUNDED, HANDED.model_copy(update={"acceptance": HANDED.signature})], "not signed by ben"),
    ([FOUNDED, HANDED.accepted(KEYS["cyd"])], "not signed by ben"),
    ([FOUNDED, mandate(FOUNDED, "ben", previous="1" * 64)], "does not follow"),
    ([FOUNDED, mandate(FOUNDED, "ben", number=3)], "does not follow"),
    ([HANDED], "does not follow"),
    ([FOUNDED, mandate(FOUNDED, "ben", federation="hearts")], "another federation"),
    ([FOUNDED, mandate(FOUNDED, "ben", "ann")], "brings back a key"),
    ([FOUNDED, HANDED, mandate(HANDED, "ben", "cyd", by="ann")], "not signed by ben"),
    ([FOUNDED, HANDED, mandate(HANDED, "ben", "ann", by="ben")], "brings back a key"),
    ([FOUNDED.model_copy(update={"issued": 1})], "not signed by ann"),
]


@pytest.mark.parametrize(("mandates", "why"), BROKEN, ids=[f"{n}" for n in range(len(BROKEN))])
def test_one_that_does_not_follow_by_the_rules_is_refused(mandates: list[SignedMandate], why: str) -> None:
    with pytest.raises(TrustError, match=why):
        succession(*mandates)


def test_who_gave_up_the_lead_is_said_with_the_mandate_that_ended_it() -> None:
    onward = succession(FOUNDED, HANDED, mandate(HANDED, "cyd", by="ben", issued=1_900_000_000))
    said = [onward.gave_up(KEYS[name].public_key()) for name in ("ann", "ben", "cyd")]
    assert said == [
        "ann, who gave up the lead on 2027-01-15 by mandate 2",
        "ben, who gave up the lead on 2030-03-17 by mandate 3",
        None,
    ]


def test_no_byte_of_it_can_be_changed() -> None:
    value: Any = parse_canonical(WHOLE.encode())
    for one in value["mandates"]:
        for name, changed in [("lead", "cyd"), ("issued", 3), ("signature", "00" * 80), ("further", 1)]:
            kept = dict(one)
            one[name] = changed
            with pytest.raises(TrustError):
                read_succession(canonical(value))
            one.clear()
            one.update(kept)
    assert read_succession(canonical(value)) == WHOLE


@pytest.mark.parametrize("data", [b"", b"{}", b'{"mandates":[]}', b'{"mandates":[1]}', b"[" * 9, b" " * (LARGEST + 1)])
def test_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(TrustError):
        read_succession(data)


def followed(found: Succession, trusted: str, seen: Succession | None = None) -> Succession:
    return follow(found, federation="lungs", trusted=key_of(trusted), seen=seen)


def test_who_trusts_the_founder_or_a_later_lead_follows() -> None:
    assert followed(WHOLE, "ann", succession(FOUNDED)) is WHOLE
    assert followed(WHOLE, "ben") is WHOLE


def test_who_trusts_neither_does_not() -> None:
    with pytest.raises(TrustError, match="invited"):
        followed(WHOLE, "cyd")
    with pytest.raises(TrustError, match="invited"):
        followed(succession(FOUNDED), "ben")  # named, and never in the lead
    with pytest.raises(TrustError, match="hearts"):
        followed(succession(mandate(None, "ann", federation="hearts")), "ann")


def test_an_older_one_is_a_rollback() -> None:
    with pytest.raises(TrustError, match="number 2 was seen"):
        followed(succession(FOUNDED), "ann", WHOLE)


def test_two_of_one_number_are_refused_and_the_first_holds() -> None:
    fork = succession(FOUNDED, mandate(FOUNDED, "cyd", by="ann"))
    with pytest.raises(TrustError, match=r"two mandates of number 2.*ben.*cyd"):
        followed(fork, "ann", WHOLE)
    longer = succession(FOUNDED, fork.newest, mandate(fork.newest, "cyd", "ben", by="cyd"))
    with pytest.raises(TrustError, match="two mandates of number 2"):
        followed(longer, "ann", WHOLE)


def test_it_travels_in_front_of_an_envelope() -> None:
    assert carried(carry(WHOLE, b"envelope")) == (WHOLE.encode(), b"envelope")
    assert carried(carry(None, b"envelope")) == (None, b"envelope")
    whole = carry(WHOLE, b"")
    for cut in (whole[:9], whole[:-1]):
        with pytest.raises(TrustError, match="cut off"):
            carried(cut)
