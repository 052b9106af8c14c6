"""An answer counts as one only if the site that was asked gave it, in its place, in our words, as agreed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from lone_site import COUNTS, TERMS, LoneSite, a_score, a_study

from client.join import load_enrolment
from server.arrival import Arrival
from server.claim import AdmissionReason
from server.federation import load_federation
from server.reception import ANSWERS, NotAsAsked, Question, read_answer
from shared.address import UNADDRESSED, Address, Stage
from shared.contract import derive_contract
from shared.envelope import seal
from shared.errors import WireCode
from shared.heads import Head
from shared.keys import make_identity_key
from shared.rehearsal import Check, Code
from shared.rehearsal_contract import rehearsal_contract
from shared.site_terms import until
from shared.wire import TO_SERVER, Closed, Message, Opened, Ready, Refused, Rehearsed, Uploaded, encode, to_site

MODEL = "a" * 64
HEAD = Head(n=3, hash="3" * 64)
REHEARSAL = rehearsal_contract(a_study(), site="north")
AT = 1_800_000_100.0
BYTES = 5  # of an update


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path_factory.mktemp("site"))
    yield lone
    lone.close()


def asked(site: LoneSite, stage: Stage = Stage.TRAIN, *, attempt: int = 1) -> Question:
    return Question("north", site.coordinator.address(stage, 1, attempt=attempt), MODEL)


def ready(place: Address, **changes: Any) -> Ready:
    fields: dict[str, Any] = {
        "address": place,
        "model_digest": MODEL,
        "update_digest": None,
        "update_bytes": 0,
        "uploaded": False,
        "replayed": False,
        "counts": COUNTS,
        "scores": (),
        "seconds": {},
        "ledger": HEAD,
    }
    return Ready(**(fields | changes))


def heard(site: LoneSite, message: Message | bytes, question: Question, **how: Any) -> Message:
    """What the server makes of a site's envelope."""
    body = message if isinstance(message, bytes) else encode(message)
    who = how.get("who", "north")
    key = how.get("key") or load_enrolment(site.place.sites[who]).identity_key
    envelope = seal(body, key=key, signer=how.get("signer", who), purpose=how.get("purpose", TO_SERVER))
    return read_answer(
        Arrival("north", "id", envelope, payload_bytes=how.get("payload_bytes", BYTES)),
        question,
        roster=load_federation(site.place.federation).roster,
        contract=REHEARSAL
        if question.address.stage is Stage.REHEARSE
        else derive_contract(site.coordinator.open(), site="north"),
        at=how.get("at", AT),
    )


def refused(site: LoneSite, message: Message | bytes, question: Question, **how: Any) -> AdmissionReason | WireCode:
    with pytest.raises(NotAsAsked) as caught:
        heard(site, message, question, **how)
    assert caught.value.what
    return caught.value.cause


@pytest.mark.parametrize(
    ("days", "why"),
    [(-1, "has passed already"), (0, "has passed already"), (3653, "lasts at most 3650 days"), (36_500, "3650 days")],
)
def test_a_contract_ends_within_the_longest_life_and_not_before_it_begins(site: LoneSite, days: int, why: str) -> None:
    question = asked(site, Stage.OPEN)
    end = TERMS.model_copy(update={"expires": until(datetime.fromtimestamp(AT, UTC), days=days)})
    opened = answers(question.address)[Stage.OPEN].model_copy(update={"terms": end})
    with pytest.raises(NotAsAsked) as caught:
        heard(site, opened, question)
    assert caught.value.cause is WireCode.CONTRACT
    assert why in caught.value.what and "policy.contract_days" in caught.value.what


@pytest.mark.parametrize("days", [1, 3651])  # a site's clock may be a day ahead
def test_any_end_that_a_policy_can_name_is_agreed_to(site: LoneSite, days: int) -> None:
    question = asked(site, Stage.OPEN)
    end = TERMS.model_copy(update={"expires": until(datetime.fromtimestamp(AT, UTC), days=days)})
    opened = answers(question.address)[Stage.OPEN].model_copy(update={"terms": end})
    assert heard(site, opened, question) == opened


def answers(place: Address) -> dict[Stage, Message]:
    """The right answer to each stage, at one place."""
    kinds = ("train", "validation", "test")
    software = {"python": "3.11.9"}
    counts = dict.fromkeys(kinds, 1)
    return {
        Stage.OPEN: Opened(
            address=place, contract_digest=MODEL, patients=counts, examples=counts,
            device="cpu", fell_back=False, threads=1, software=software, terms=TERMS, ledger=HEAD,
        ),
        Stage.TRAIN: ready(place),
        Stage.UPLOAD: Uploaded(address=place, update_digest=MODEL, update_bytes=BYTES, ledger=HEAD),
        Stage.VALIDATE: ready(place),
        Stage.EVALUATE: ready(place),
        Stage.CLOSE: Closed(address=place, head=MODEL, ledger=HEAD),
        Stage.REHEARSE: Rehearsed(
            address=place, contract_digest=REHEARSAL.digest(), findings={Check.CLOCK: Code.PASS}, work_s=1.2
        ),
    }  # fmt: skip


@pytest.mark.parametrize("stage", list(Stage))
def test_the_right_answer_to_each_stage_is_read(site: LoneSite, stage: Stage) -> None:
    question = asked(site, stage)
    answer = answers(question.address)[stage]
    assert heard(site, answer, question) == answer


@pytest.mark.parametrize("stage", list(Stage))
def test_an_answer_that_belongs_to_another_stage_never_counts(site: LoneSite, stage: Stage) -> None:
    """A Closed in the middle of a round would else be taken for an update that counts."""
    question = asked(site, stage)
    for answer in answers(question.address).values():
        if not isinstance(answer, ANSWERS[stage]):
            assert refused(site, answer, question) is AdmissionReason.MALFORMED


def test_a_rehearsal_is_answered_under_its_own_contract(site: LoneSite) -> None:
    question = asked(site, Stage.REHEARSE)
    answer = answers(question.address)[Stage.REHEARSE].model_copy(update={"contract_digest": MODEL})
    assert refused(site, answer, question) is WireCode.CONTRACT


@pytest.mark.parametrize("carried", [0, BYTES - 1, BYTES + 1])
def test_an_update_that_is_said_to_travel_along_does(site: LoneSite, carried: int) -> None:
    for stage, changes in ((Stage.TRAIN, {"uploaded": True}), (Stage.UPLOAD, {})):
        question = asked(site, stage)
        place = question.address
        answer = answers(place)[stage]
        if isinstance(answer, Ready):
            answer = ready(place, update_digest="b" * 64, update_bytes=BYTES, **changes)
        assert heard(site, answer, question) == answer
        assert refused(site, answer, question, payload_bytes=carried) is AdmissionReason.DIGEST


def test_a_refusal_needs_no_address(site: LoneSite) -> None:
    no = Refused(address=UNADDRESSED, refusal=WireCode.PROTOCOL)
    assert heard(site, no, asked(site)) == no


def test_another_site_cannot_answer(site: LoneSite) -> None:
    question = asked(site)
    answer = ready(question.address)
    bad = AdmissionReason.BAD_SIGNATURE
    assert refused(site, answer, question, who="north-neighbour") is bad
    assert refused(site, answer, question, who="north-neighbour", signer="north") is bad
    assert refused(site, answer, question, key=make_identity_key()) is bad


def test_an_envelope_for_another_reader_does_not_open(site: LoneSite) -> None:
    question = asked(site)
    cause = refused(site, ready(question.address), question, purpose=to_site("north"))
    assert cause is AdmissionReason.BAD_SIGNATURE


def test_a_key_that_has_expired_does_not_count(site: LoneSite) -> None:
    question = asked(site)
    cause = refused(site, ready(question.address), question, at=time.time() + 10**9)
    assert cause is AdmissionReason.BAD_SIGNATURE


def test_another_protocol_is_named(site: LoneSite) -> None:
    question = asked(site)
    body = encode(ready(question.address)).replace(b'"protocol":1', b'"protocol":3')
    assert refused(site, body, question) is WireCode.PROTOCOL


@pytest.mark.parametrize("body", [b"{}", b"[]", b"\x00", b'{"protocol": 1}'])
def test_what_is_no_message_does_not_count(site: LoneSite, body: bytes) -> None:
    assert refused(site, body, asked(site)) in (AdmissionReason.MALFORMED, WireCode.PROTOCOL)


@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        ("study", "hearts", AdmissionReason.FOREIGN_EPOCH),
        ("epoch", 2, AdmissionReason.FOREIGN_EPOCH),
        ("round", 2, AdmissionReason.FOREIGN_ROUND),
        ("attempt", 2, AdmissionReason.FOREIGN_ROUND),
        ("stage", Stage.EVALUATE, AdmissionReason.FOREIGN_ROUND),
    ],
)
def test_an_answer_from_elsewhere(site: LoneSite, field: str, value: Any, cause: AdmissionReason) -> None:
    question = asked(site)
    elsewhere = question.address.model_copy(update={field: value})
    assert refused(site, ready(elsewhere), question) is cause


def test_an_answer_about_another_model(site: LoneSite) -> None:
    question = asked(site)
    other = a_score(site.coordinator.study, "b" * 64)
    foreign = ready(question.address, model_digest="b" * 64)
    assert refused(site, foreign, question) is AdmissionReason.FOREIGN_ROUND
    assert refused(site, ready(question.address, scores=(other,)), question) is WireCode.CONTRACT


def test_a_score_that_was_not_agreed(site: LoneSite) -> None:
    question = asked(site)
    score = a_score(site.coordinator.study, MODEL).model_copy(update={"figures": {"auroc": 7.0}})
    assert refused(site, ready(question.address, scores=(score,)), question) is WireCode.CONTRACT


def test_forty_copies_of_a_score_do_not_count(site: LoneSite) -> None:
    """Each is as agreed; together they would be no entry of the journal."""
    question = asked(site)
    many = (a_score(site.coordinator.study, MODEL),) * 40
    assert refused(site, ready(question.address, scores=many), question) is WireCode.CONTRACT


def test_a_score_counts_each_patient_once_and_no_more_than_were_declared(site: LoneSite) -> None:
    score, question = a_score(site.coordinator.study, MODEL), replace(asked(site), patients={"validation": 4})
    assert heard(site, ready(question.address, scores=(score,)), question)
    for name, values in score.statistics.items():
        heavy = {**score.statistics, name: tuple(value * 2**10 for value in values)}
        loud = score.model_copy(update={"statistics": heavy})
        assert refused(site, ready(question.address, scores=(loud,)), question) is WireCode.CONTRACT
    many = a_score(site.coordinator.study, MODEL, patients=5)
    assert refused(site, ready(question.address, scores=(many,)), question) is WireCode.CONTRACT


def test_test_patients_are_scored_in_the_closing_trip_alone(site: LoneSite) -> None:
    score = a_score(site.coordinator.study, MODEL, split="test")
    closing = asked(site, Stage.EVALUATE)
    for question in (asked(site), asked(site, Stage.VALIDATE)):
        assert refused(site, ready(question.address, scores=(score,)), question) is WireCode.CONTRACT
    assert heard(site, ready(closing.address, scores=(score,)), closing)
