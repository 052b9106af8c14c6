"""An amended study leads back to the one that was launched, and to no other."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from shared.amendment import PURPOSE, Amendment, Terms, read_amendment, sign_amendment, trail, with_terms
from shared.canonical import canonical
from shared.envelope import seal
from shared.errors import ConfigError, TrustError
from shared.study import Study, parse_study

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
LAUNCHED = parse_study("""
    [study]
    name = "lungs"
    [task]
    classes = ["opacity"]
    [training]
    steps_per_round = 2
    [rounds]
    count = 2
    deadline_s = 60
""")


def step(study: Study, number: int, /, *, rounds: int = 0, deadline_s: float = 0.0, **changes: Any) -> Amendment:
    before = Terms.of(study)
    after = Terms(rounds=rounds or before.rounds, deadline_s=deadline_s or before.deadline_s)
    said = {"study": "lungs", "number": number, "original": LAUNCHED.digest(), "previous": study.digest()}
    return Amendment.model_validate(said | {"before": before.model_dump(), "after": after.model_dump()} | changes)


def signed(*amendments: Amendment) -> list[str]:
    return [sign_amendment(amendment, key=KEY) for amendment in amendments]


def digests(study: Study, sealed: list[str]) -> list[str]:
    return trail(study, sealed, coordinator=KEY.public_key())


FIRST = step(LAUNCHED, 1, rounds=5)
MORE = with_terms(LAUNCHED, FIRST.after)
SECOND = step(MORE, 2, deadline_s=90.0)
LAST = with_terms(MORE, SECOND.after)


def test_a_study_that_was_never_amended_is_its_own_original() -> None:
    assert digests(LAUNCHED, []) == [LAUNCHED.digest()]


def test_an_amended_study_leads_back_step_by_step() -> None:
    assert (LAST.rounds.count, LAST.rounds.deadline_s) == (5, 90.0)
    assert digests(LAST, signed(FIRST, SECOND)) == [LAUNCHED.digest(), MORE.digest(), LAST.digest()]


@pytest.mark.parametrize(
    ("study", "amendments"),
    [
        (LAST, (SECOND,)),  # the first one is left out
        (LAST, (SECOND, FIRST)),
        (MORE, (FIRST, SECOND)),
        (LAUNCHED, (FIRST,)),
        (MORE, (step(LAUNCHED, 1, rounds=5, study="hearts"),)),
        (MORE, (step(LAUNCHED, 1, rounds=5, original="0" * 64),)),
        (MORE, (step(LAUNCHED, 1, rounds=5, previous="0" * 64),)),
        (MORE, (step(LAUNCHED, 1, rounds=5, before={"rounds": 3, "deadline_s": 60.0}),)),
        (with_terms(LAUNCHED, Terms(rounds=1, deadline_s=60.0)), (step(LAUNCHED, 1, rounds=1),)),
        (LAUNCHED, (step(LAUNCHED, 1),)),  # asks for nothing
    ],
)
def test_any_other_trail_is_refused(study: Study, amendments: tuple[Amendment, ...]) -> None:
    with pytest.raises(TrustError, match="An amendment"):
        digests(study, signed(*amendments))


def test_nothing_but_rounds_and_deadline_can_change() -> None:
    other = MORE.model_copy(update={"study": MORE.study.model_copy(update={"seed": 1})})
    with pytest.raises(TrustError, match="does not follow"):
        digests(other, signed(FIRST))


def test_an_amendment_carries_the_coordinators_signature_for_this_purpose() -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    with pytest.raises(TrustError):
        digests(MORE, [sign_amendment(FIRST, key=other)])
    body = canonical(FIRST.model_dump(mode="json"))
    with pytest.raises(TrustError):
        digests(MORE, [seal(body, key=KEY, signer="coordinator", purpose="wardround to north").hex()])
    for text in ("", "zz", seal(b"{}", key=KEY, signer="coordinator", purpose=PURPOSE).hex()):
        with pytest.raises(TrustError):
            read_amendment(text, coordinator=KEY.public_key())


def test_a_study_is_amended_only_to_what_it_may_ask() -> None:
    with pytest.raises(ConfigError, match="deadline_s"):
        with_terms(LAUNCHED, Terms(rounds=2, deadline_s=1e9))
    with pytest.raises(ValidationError):
        Terms(rounds=0, deadline_s=1.0)
