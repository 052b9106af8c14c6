"""Messages that were changed on their way, or made up by who holds a key."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lone_site import COUNTS, TENSORS, a_score, a_study
from mutations import OF_TEXT, Input, changed, judge, sizes

from shared.address import Address, Stage
from shared.envelope import open_envelope, seal
from shared.errors import TrustError, WireCode
from shared.heads import Head, Held
from shared.receipt import Receipt
from shared.site_terms import SiteTerms
from shared.wire import (
    Close,
    Closed,
    Grant,
    Message,
    Open,
    Opened,
    Ready,
    Refused,
    Uploaded,
    Work,
    decode_to_server,
    decode_to_site,
    encode,
    to_site,
)

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
MODEL, UPDATE = "a" * 64, "b" * 64
STUDY = a_study()


def at(stage: Stage, number: int = 1) -> Address:
    return Address(study=STUDY.name, epoch=1, round=number, attempt=1, stage=stage)


HEAD = Head(n=7, hash="c" * 64)
RECEIPT = Receipt(
    site="north",
    study=STUDY.name,
    round=1,
    outcome="counted",
    update_digest=UPDATE,
    model_digest=MODEL,
    head=HEAD,
    root="d" * 64,
    time="2026-01-02T03:04:05Z",
    signature="ef" * 64,
)
WORKED: dict[str, Any] = {"study_digest": STUDY.digest(), "model_digest": MODEL, "payload_bytes": 9, "slot_bytes": 0}
FROM_SERVER: list[Message] = [
    Open(address=at(Stage.OPEN, 0), study=STUDY, tensors=TENSORS, cohort=("north", "south"), amendments=("ab" * 9,)),
    Work(
        address=at(Stage.TRAIN, 2),
        previous_digest=UPDATE,
        receipts=(RECEIPT,),
        heads=Held(root=MODEL, sites=1, head=HEAD),
        **WORKED,
    ),
    Grant(address=at(Stage.UPLOAD), update_digest=UPDATE, lease_s=30.5),
    Close(address=at(Stage.CLOSE), reason="finished", receipts=(RECEIPT,)),
]
FROM_SITE: list[Message] = [
    Opened(
        address=at(Stage.OPEN, 0),
        contract_digest=MODEL,
        patients={"train": 5, "validation": 4, "test": 4},
        examples={"train": 8, "validation": 4, "test": 4},
        device="cuda:0",
        fell_back=False,
        threads=4,
        software={"python": "3.11.9"},
        terms=SiteTerms(code=MODEL, wheel=UPDATE, floors={"steps_at_least": 3}, expires="2030-01-31T12:00:00Z"),
    ),
    Ready(
        address=at(Stage.TRAIN),
        model_digest=MODEL,
        update_digest=UPDATE,
        update_bytes=9,
        uploaded=True,
        replayed=False,
        counts=COUNTS,
        scores=(a_score(STUDY, MODEL).model_copy(update={"statistics": {"patients": (4,)}}),),
        seconds={"train": 0.5},
    ),
    Uploaded(address=at(Stage.UPLOAD), update_digest=UPDATE, update_bytes=9),
    Closed(address=at(Stage.CLOSE), head=MODEL, ledger=HEAD),
    Refused(address=at(Stage.TRAIN), refusal=WireCode.DEVICE, rule="rounds"),
]


def holds(message: Any, body: Any) -> bool:
    """Whether a message says what stands in its body, value by value; an older version may have said less."""
    if isinstance(body, dict):
        return all(k in message and holds(message[k], v) for k, v in body.items())
    if isinstance(body, list):
        return len(message) == len(body) and all(map(holds, message, body))
    return message == body and isinstance(message, bool) is isinstance(body, bool)


@sizes
@pytest.mark.parametrize(
    ("messages", "decode"), [(FROM_SERVER, decode_to_site), (FROM_SITE, decode_to_server)], ids=["server", "site"]
)
def test_a_message_is_refused_or_says_what_its_bytes_say(messages: Any, decode: Any, inputs: int) -> None:
    bodies = [encode(message) for message in messages]

    def check(given: Input) -> None:
        body = changed(bodies[given.pick % len(bodies)], given.todo)
        try:
            message = decode(body)
        except TrustError:
            return
        assert holds(message.model_dump(mode="json"), json.loads(body))

    judge(check, inputs=inputs // 2)


@sizes
def test_a_changed_envelope_is_refused(inputs: int) -> None:
    envelopes = [seal(encode(one), key=KEY, signer="coordinator", purpose=to_site("north")) for one in FROM_SERVER]

    def check(given: Input) -> None:
        sealed = envelopes[given.pick % len(envelopes)]
        data = changed(sealed, given.todo)
        if data != sealed:
            with pytest.raises(TrustError):
                open_envelope(data, keys={"coordinator": KEY.public_key()}, purpose=to_site("north"), limit=1 << 20)

    judge(check, inputs=inputs, kinds=tuple(OF_TEXT))
