"""What comes in is obeyed only if the coordinator said it, to this site, in our words, and lately."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lone_site import START, TENSORS, TERMS, LoneSite

from client.intake import check_epoch, check_model, open_message
from client.study_store import StudyRecord
from shared.address import Stage
from shared.canonical import digest
from shared.errors import ProtocolError, Refusal, TrustError, WireCode
from shared.keys import make_identity_key
from shared.update import pack
from shared.wire import Closed, encode


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path_factory.mktemp("site"))
    yield lone
    lone.close()


def taken(site: LoneSite, envelope: bytes) -> object:
    return open_message(envelope, site="north", coordinator=site.site.coordinator)


def test_each_message_of_the_coordinator_is_read(site: LoneSite) -> None:
    say = site.coordinator
    for message in (say.open(), say.work(1), say.grant(1), say.close(2)):
        assert taken(site, say.parcel(message).envelope) == message


def test_another_signer_is_not_believed(site: LoneSite) -> None:
    with pytest.raises(TrustError, match="valid signature"):
        taken(site, site.coordinator.parcel(site.coordinator.open(), key=make_identity_key()).envelope)


def test_an_envelope_for_another_site_does_not_open(site: LoneSite) -> None:
    with pytest.raises(TrustError, match="for this purpose"):
        taken(site, site.coordinator.parcel(site.coordinator.open(), site="north-neighbour").envelope)


def test_an_altered_envelope_does_not_open(site: LoneSite) -> None:
    envelope = site.coordinator.parcel(site.coordinator.open()).envelope
    with pytest.raises(TrustError):
        taken(site, envelope[:-2] + b" }")


@pytest.mark.parametrize("wanted", [b'"protocol":3', b'"protocol":null', b'"protocol":"1"'])
def test_another_protocol_names_both_numbers(site: LoneSite, wanted: bytes) -> None:
    body = encode(site.coordinator.open()).replace(b'"protocol":1', wanted)
    with pytest.raises(ProtocolError, match=r"this is Wardround .*, which reads 1 to 2"):
        taken(site, site.coordinator.parcel(body).envelope)


def test_bytes_that_are_not_canonical_are_not_read(site: LoneSite) -> None:
    body = encode(site.coordinator.open())
    for other in (body + b"\n", body.replace(b'":', b'": ', 1), b"\xff", b"[]" * 3):
        with pytest.raises(TrustError):
            taken(site, site.coordinator.parcel(other).envelope)


def test_what_only_a_site_says_is_not_a_message_to_a_site(site: LoneSite) -> None:
    body = encode(Closed(address=site.coordinator.address(Stage.CLOSE, 1), head="0" * 64))
    with pytest.raises(TrustError, match="outside its type"):
        taken(site, site.coordinator.parcel(body).envelope)


def test_a_lower_epoch_is_refused_and_a_higher_one_is_not(site: LoneSite) -> None:
    opening = site.coordinator.open()
    record = StudyRecord(open=opening, epoch=3, terms=TERMS)
    at = {n: opening.model_copy(update={"address": opening.address.model_copy(update={"epoch": n})}) for n in (2, 3, 4)}
    with pytest.raises(Refusal) as caught:
        check_epoch(record, at[2])
    assert caught.value.wire_code is WireCode.STALE_EPOCH
    check_epoch(record, at[3])
    check_epoch(record, at[4])
    check_epoch(None, at[2])


def test_a_sound_model_passes(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(START)
    check_model(path, found=digest(START), digest=digest(START), tensors=TENSORS)


FLOATS, NUMBER = np.zeros((2, 3), np.float32), np.array(1)
UNSOUND = {
    "not finite": pack({"w": FLOATS + np.float32("inf"), "n": NUMBER}),
    "another shape": pack({"w": FLOATS.T.copy(), "n": NUMBER}),
    "another tensor": pack({"v": FLOATS, "n": NUMBER}),
    "no tensor file": b"model",
    "nothing": b"",
}


@pytest.mark.parametrize("model", UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_model_is_refused(tmp_path: Path, model: bytes) -> None:
    path = tmp_path / "model"
    path.write_bytes(model)
    with pytest.raises(Refusal) as caught:
        check_model(path, found=digest(model), digest=digest(model), tensors=TENSORS)
    assert caught.value.wire_code is WireCode.MODEL_UNSOUND


def test_a_model_other_than_announced_or_absent_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with pytest.raises(Refusal):
        check_model(path, found=digest(START), digest=digest(START), tensors=TENSORS)
    path.write_bytes(START)
    with pytest.raises(Refusal):
        check_model(path, found=digest(START), digest="0" * 64, tensors=TENSORS)
