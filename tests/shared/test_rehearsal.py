"""The closed forms of a rehearsal: nothing but the listed codes and two coarse durations can be said."""

import json

import pytest
from pydantic import ValidationError

from shared.address import Address, Stage
from shared.canonical import canonical
from shared.contract import Contract
from shared.errors import TrustError, WireCode
from shared.rehearsal import MEANINGS, Check, Code, Outcome, code_for, codes_of, fixes, outcome, told, two_digits
from shared.rehearsal_contract import rehearsal_contract, rehearsal_fault
from shared.study import parse_study
from shared.wire import Closed, Rehearsed, decode_to_server, encode, has_place

STUDY = parse_study('[study]\nname = "lungs"\n[task]\nclasses = ["opacity"]\n[training]\nsteps_per_round = 2\n')
CONTRACT = rehearsal_contract(STUDY, site="north")
PLACE = Address(study="lungs", epoch=1, round=0, attempt=1, stage=Stage.REHEARSE)


def rehearsed(**fields: object) -> Rehearsed:
    return Rehearsed.model_validate({"address": PLACE, "contract_digest": CONTRACT.digest(), "findings": {}} | fields)


def test_every_code_but_pass_has_a_meaning_and_a_remedy() -> None:
    assert MEANINGS.keys() == set(Code) - {Code.PASS}
    assert all(meaning.what.endswith(".") and meaning.remedy.endswith(".") for meaning in MEANINGS.values())
    assert all(meaning.outcome is not Outcome.PASS for meaning in MEANINGS.values())
    assert sorted(code for check in Check for code in codes_of(check) if code is not Code.PASS) == sorted(MEANINGS)


def test_every_failure_of_the_work_has_a_word() -> None:
    assert {code_for(code) for code in WireCode} <= MEANINGS.keys()
    assert told(Code.CRASHED) == {Check.WORK: Code.CRASHED}
    assert fixes(told(Code.NOT_FOUND))
    assert not fixes({Check.IMAGES: Code.ONE_CLASS, Check.WORK: Code.PASS})
    assert outcome(Code.PASS) is Outcome.PASS


@pytest.mark.parametrize(
    ("seconds", "coarse"), [(0.0, 0.0), (-1.0, 0.0), (0.0004, 0.0), (0.01234, 0.012), (98.7, 99.0), (1e99, 1e7)]
)
def test_a_duration_is_told_to_two_digits(seconds: float, coarse: float) -> None:
    assert two_digits(seconds) == coarse
    assert two_digits(two_digits(seconds)) == coarse
    assert rehearsed(work_s=coarse).work_s == coarse


@pytest.mark.parametrize(
    "more",
    [
        {"patients": {"train": 7}},
        {"note": "Mustermann"},
        {"work_s": 12.34},
        {"travel_s": -1.0},
        {"work_s": 1e9},
        {"findings": {"images": "not_finite"}},
        {"findings": {"clock": "fine"}},
        {"findings": {"patient": "pass"}},
    ],
)
def test_more_cannot_be_said(more: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        rehearsed(**more)
    body = json.loads(encode(rehearsed())) | more
    with pytest.raises(TrustError, match="fields outside its type"):
        decode_to_server(canonical(body))


def test_the_contract_allows_no_round_no_tensor_and_no_byte() -> None:
    assert (CONTRACT.rounds, CONTRACT.tensors, CONTRACT.payload_bytes, CONTRACT.metrics) == (0, (), 0, ())
    asked = [(stage, number) for stage in Stage for number in range(3) if CONTRACT.allows(stage, number)]
    assert asked == [(Stage.CLOSE, 0), (Stage.REHEARSE, 0)]
    assert CONTRACT.codes == {check: codes_of(check) for check in Check}


def test_an_answer_is_held_against_the_contract() -> None:
    assert rehearsal_fault(CONTRACT, rehearsed(findings={"disk": "no_room"}, work_s=1.5)) is None
    assert rehearsal_fault(CONTRACT, rehearsed(contract_digest="0" * 64)) is not None
    assert rehearsal_fault(CONTRACT, rehearsed().model_copy(update={"work_s": 1.2345})) is not None
    assert rehearsal_fault(CONTRACT, rehearsed().model_copy(update={"findings": {Check.DISK: "patient 7"}})) is not None
    assert rehearsal_fault(CONTRACT, rehearsed().model_copy(update={"note": "patient 7"})) is not None
    narrow = CONTRACT.model_copy(update={"codes": {Check.CLOCK: (Code.PASS,)}})
    said = rehearsed(contract_digest=narrow.digest(), findings={"disk": "no_room"})
    assert rehearsal_fault(narrow, said) == "a code is not among those agreed"
    plain = Contract.model_validate(CONTRACT.model_dump(exclude={"codes", "survey"}))
    assert rehearsal_fault(plain, rehearsed(contract_digest=plain.digest())) is not None


def test_a_rehearsal_bears_a_higher_number_than_a_study() -> None:
    """A site that knows no rehearsal refuses it by that number, and does not throw it away as garbage."""
    body = encode(rehearsed())
    assert decode_to_server(body) == rehearsed()
    assert b'"protocol":2' in body
    with pytest.raises(TrustError, match="fields outside its type"):
        decode_to_server(body.replace(b'"protocol":2', b'"protocol":1'))
    assert not has_place(Closed(address=PLACE, head="0" * 64))
