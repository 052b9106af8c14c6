"""What comes in from a site: the envelope is opened, the address compared, the answer typed.

Rules, in order:

1. The answer is signed by the site that was asked (its key on the roster, valid now).
2. It speaks our protocol.
3. It stands at the address of the question (study, epoch, round, attempt, stage), and is of the type
   that answers this stage, and names the head of its site's ledger.
4. It is about the model that was sent, and says what `shared/contract.py` allows; of a rehearsal it says
   what `shared/rehearsal_contract.py` allows.
5. Late work is of a round for which its site still owes it, and started from that round's model.
6. A contract that it agrees to has an end that is to come, and not too far off.
7. An update that it says travels along does: as many bytes as announced.

Whether an update counts is admission's matter; what follows from an answer, the round's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from server.arrival import Arrival
from server.claim import AdmissionReason
from shared.address import Address, Stage
from shared.contract import Contract, opening_fault, report_fault
from shared.envelope import open_envelope
from shared.errors import ProtocolError, TrustError, WireCode
from shared.identity import Roster
from shared.rehearsal_contract import rehearsal_fault
from shared.site_terms import end_fault
from shared.wire import (
    TO_SERVER,
    Closed,
    FromSite,
    Opened,
    Ready,
    Refused,
    Rehearsed,
    Report,
    Uploaded,
    decode_to_server,
)

Answer = FromSite
ANSWERS: dict[Stage, type[Answer]] = {
    Stage.OPEN: Opened,
    Stage.TRAIN: Ready,
    Stage.UPLOAD: Uploaded,
    Stage.VALIDATE: Ready,
    Stage.EVALUATE: Ready,
    Stage.CLOSE: Closed,
    Stage.REHEARSE: Rehearsed,
}


@dataclass(frozen=True)
class Question:
    """What was asked: of whom, where, and about which model (None: about none).

    `owed` gives the rounds whose late work may answer it, and the model that each started from. `patients` are those
    that the site declared, by split; where it declared none, there is no bound.
    """

    site: str
    address: Address
    model_digest: str | None = None
    owed: Mapping[int, str] = field(default_factory=dict)
    patients: Mapping[str, int] = field(default_factory=dict)


class NotAsAsked(Exception):
    """An answer that does not fit its question; `cause` is the word for the journal."""

    def __init__(self, cause: AdmissionReason | WireCode, what: str) -> None:
        super().__init__(what)
        self.cause = cause
        self.what = what


def read_answer(arrival: Arrival, question: Question, *, roster: Roster, contract: Contract, at: float) -> Answer:
    """Apply the module's rules to one arrival.

    Args:
        arrival: what the engine handed over.
        question: what it answers.
        roster: whose keys count.
        contract: what the site may say.
        at: the time, Unix seconds.

    Raises:
        NotAsAsked: a rule does not hold.
    """
    keys = roster.identity_keys(at=at, site=question.site)
    try:
        body = open_envelope(arrival.envelope, keys=keys, purpose=TO_SERVER).body  # 1
    except TrustError as error:
        raise NotAsAsked(AdmissionReason.BAD_SIGNATURE, error.what) from None
    try:
        answer = decode_to_server(body)  # 2
    except ProtocolError as error:
        raise NotAsAsked(WireCode.PROTOCOL, f"{error.what} {error.remedy}") from None
    except TrustError as error:
        raise NotAsAsked(AdmissionReason.MALFORMED, error.what) from None
    for check in _RULES:  # 3, 4, 5
        check(answer, question, contract)
    _ends_in_time(answer, at)  # 6
    if _carries_update(answer) and not 0 < arrival.payload_bytes == answer.update_bytes:  # 7
        raise NotAsAsked(AdmissionReason.DIGEST, "The answer carries no update of the announced size.")
    return answer


def _at_address(answer: Answer, question: Question, contract: Contract) -> None:
    found, asked = answer.address, question.address
    if isinstance(answer, Refused):
        return  # a site that could not read the question cannot repeat its address
    if (found.study, found.epoch) != (asked.study, asked.epoch):
        raise NotAsAsked(AdmissionReason.FOREIGN_EPOCH, "The answer belongs to another study or owner.")
    if found != asked:
        raise NotAsAsked(AdmissionReason.FOREIGN_ROUND, "The answer belongs to another round, attempt or stage.")
    if not isinstance(answer, ANSWERS[asked.stage]):
        raise NotAsAsked(AdmissionReason.MALFORMED, "The answer is of a type that does not answer this stage.")


def _names_head(answer: Answer, question: Question, contract: Contract) -> None:
    if isinstance(answer, Report) and answer.ledger is None:
        raise NotAsAsked(AdmissionReason.MALFORMED, "The answer names no head of its site's ledger.")


def _about_model(answer: Answer, question: Question, contract: Contract) -> None:
    if isinstance(answer, Opened) and (fault := opening_fault(contract, answer)):
        raise NotAsAsked(WireCode.CONTRACT, f"The answer breaks the contract: {fault}.")
    if not isinstance(answer, Ready):
        return
    if answer.model_digest != question.model_digest:
        raise NotAsAsked(AdmissionReason.FOREIGN_ROUND, "The answer is about another model.")
    if fault := report_fault(contract, answer):
        raise NotAsAsked(WireCode.CONTRACT, f"The answer breaks the contract: {fault}.")
    if any(score.patients > question.patients.get(score.split, score.patients) for score in answer.scores):
        raise NotAsAsked(WireCode.CONTRACT, "The answer scores more patients than the site declared.")


def _of_a_rehearsal(answer: Answer, question: Question, contract: Contract) -> None:
    if isinstance(answer, Rehearsed) and (fault := rehearsal_fault(contract, answer)):
        raise NotAsAsked(WireCode.CONTRACT, f"The answer breaks the contract: {fault}.")


def _owed_if_late(answer: Answer, question: Question, contract: Contract) -> None:
    late = answer.late if isinstance(answer, Ready) else None
    if late is not None and question.owed.get(late.round) != late.model_digest:
        raise NotAsAsked(AdmissionReason.FOREIGN_ROUND, "The late work is of no round for which the site owes it.")


def _ends_in_time(answer: Answer, at: float) -> None:
    if isinstance(answer, Opened) and (fault := end_fault(answer.terms, at=at)):
        what = f"The site's contract does not hold: {fault}."
        raise NotAsAsked(WireCode.CONTRACT, f"{what} Ask it for its clock and its policy.contract_days.")


def _carries_update(answer: Answer) -> TypeGuard[Ready | Uploaded]:
    return isinstance(answer, Uploaded) or (isinstance(answer, Ready) and answer.uploaded)


_RULES: tuple[Callable[[Answer, Question, Contract], None], ...] = (
    _at_address,
    _names_head,
    _about_model,
    _of_a_rehearsal,
    _owed_if_late,
)
