"""A message is one of this protocol only at a stage that its type has a place in."""

import pytest

from shared.address import Address, Stage
from shared.errors import TrustError, WireCode
from shared.version import VERSION
from shared.wire import Close, Closed, Grant, Message, Refused, Uploaded, Work, decode_to_server, decode_to_site, encode

DIGEST = "a" * 64


def at(stage: Stage) -> Address:
    return Address(study="lungs", epoch=1, round=1, attempt=1, stage=stage)


def from_server(place: Address) -> dict[Message, set[Stage]]:
    work = Work(
        address=place,
        study_digest=DIGEST,
        model_digest=DIGEST,
        previous_digest=None,
        payload_bytes=1,
        slot_bytes=0,
    )
    return {
        work: {Stage.TRAIN, Stage.VALIDATE, Stage.EVALUATE},
        Grant(address=place, update_digest=DIGEST, lease_s=1.0): {Stage.UPLOAD},
        Close(address=place, reason="finished"): {Stage.CLOSE},
    }


def from_site(place: Address) -> dict[Message, set[Stage]]:
    return {
        Uploaded(address=place, update_digest=DIGEST, update_bytes=1): {Stage.UPLOAD},
        Closed(address=place, head=DIGEST): {Stage.CLOSE},
        Refused(address=place, refusal=WireCode.DEVICE): set(Stage),
    }


@pytest.mark.parametrize("stage", list(Stage))
def test_a_type_has_its_stages(stage: Stage) -> None:
    for messages, decode in ((from_server, decode_to_site), (from_site, decode_to_server)):
        for message, places in messages(at(stage)).items():
            if stage in places:
                assert decode(encode(message)) == message
            else:
                with pytest.raises(TrustError, match=f"names the stage {stage}"):
                    decode(encode(message))


def test_a_message_for_the_other_side_is_none() -> None:
    for message in from_site(at(Stage.CLOSE)):
        with pytest.raises(TrustError):
            decode_to_site(encode(message))


@pytest.mark.parametrize("version", [f"{VERSION}\x1b[2J", "9.9\x1b[2J\N{RIGHT-TO-LEFT OVERRIDE}", "7" * 40])
def test_a_version_that_would_drive_a_terminal_is_refused_and_never_shown_as_it_stands(version: str) -> None:
    close = Close(address=at(Stage.CLOSE), reason="finished")
    with pytest.raises(TrustError) as refused:
        decode_to_site(encode(close.model_copy(update={"version": version})))
    assert refused.value.what.isprintable() and len(refused.value.what) < 160
