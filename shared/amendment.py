"""Amendments: a launched study gets more rounds or a longer deadline, signed, and traceable to its launch.

An amendment says what a study asked before and what it asks after it; nothing else of a study can change.
The study that is asked for now, together with its amendments, shows by itself what was launched:

1. each amendment is signed by the coordinator, for this purpose;
2. they are of this study, numbered from 1 on, and name the same original;
3. followed back from the study as it is now, each one's terms are the study's, and with the terms before
   it the study has the digest that the amendment names;
4. no amendment takes rounds or time away;
5. the study before the first one is the original.

Whether a site goes along, and when an amendment takes effect, is left to both sides' callers.
"""

from collections.abc import Sequence
from typing import Annotated, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from shared.canonical import canonical, parse_canonical
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, TrustError
from shared.fields import Digest, Name
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
from shared.schedule import RoundsSpec
from shared.section import Section, wrong_keys
from shared.study import Study
from shared.wire import MOST_AMENDMENTS

PURPOSE = "amendment"


class Terms(Section):
    """What an amendment may change: the number of rounds, and how long one may wait, in seconds."""

    rounds: Annotated[int, Field(ge=1)]
    deadline_s: Annotated[float, Field(gt=0)]

    @classmethod
    def of(cls, study: Study) -> Self:
        """What a study asks."""
        return cls(rounds=study.rounds.count, deadline_s=study.rounds.deadline_s)

    def extend(self, other: "Terms") -> bool:
        """Whether these ask for more than others in one way, and for less in none."""
        return self != other and self.rounds >= other.rounds and self.deadline_s >= other.deadline_s


class Amendment(Section):
    """One step from the study with digest `previous` to the next; `original` is the study as launched."""

    study: Name
    number: Annotated[int, Field(ge=1, le=MOST_AMENDMENTS)]
    original: Digest
    previous: Digest
    before: Terms
    after: Terms


def with_terms(study: Study, terms: Terms) -> Study:
    """The study with other terms.

    Raises:
        ConfigError: a study may not ask for them.
    """
    asked = study.rounds.model_dump() | {"count": terms.rounds, "deadline_s": terms.deadline_s}
    try:
        return study.model_copy(update={"rounds": RoundsSpec.model_validate(asked)})
    except ValidationError as error:
        raise ConfigError(wrong_keys("study", RoundsSpec, error), remedy="Ask for less.") from None


def sign_amendment(amendment: Amendment, *, key: Ed25519PrivateKey) -> str:
    """The signed amendment, in hex as messages and files carry it."""
    body = canonical(amendment.model_dump(mode="json"))
    return seal(body, key=key, signer=COORDINATOR, purpose=PURPOSE).hex()


def read_amendment(sealed: str, *, coordinator: VerifyKey) -> Amendment:
    """Rule 1.

    Raises:
        TrustError: not signed by the coordinator as an amendment, or not one.
    """
    try:
        body = open_envelope(bytes.fromhex(sealed), keys={COORDINATOR: coordinator}, purpose=PURPOSE).body
        return Amendment.model_validate(parse_canonical(body))
    except ValueError:  # no hex, or other fields
        raise _broken("cannot be read") from None


def trail(study: Study, sealed: Sequence[str], *, coordinator: VerifyKey) -> list[str]:
    """The digests that a study has had, the original's first and that of `study` last.

    Args:
        study: as it is now.
        sealed: its amendments, the first one first.
        coordinator: whose signatures they must carry.

    Raises:
        TrustError: a rule of this module does not hold.
    """
    digests = [study.digest()]
    amendments = [read_amendment(text, coordinator=coordinator) for text in sealed]
    for number, amendment in reversed([*enumerate(amendments, start=1)]):
        if (amendment.study, amendment.number) != (study.name, number):  # 2
            raise _broken("is of another study, or out of its turn")
        if amendment.after != Terms.of(study):  # 3
            raise _broken("asks for something else than the study")
        if not amendment.after.extend(amendment.before):  # 4
            raise _broken("takes rounds or time away")
        study = with_terms(study, amendment.before)
        if study.digest() != amendment.previous:  # 3
            raise _broken("does not follow from the study before it")
        digests.insert(0, amendment.previous)
    if any(amendment.original != digests[0] for amendment in amendments):  # 2, 5
        raise _broken("names another original")
    return digests


def _broken(why: str) -> TrustError:
    return TrustError(f"An amendment {why}.", remedy="Ask the coordinator which amendments the study has.")
