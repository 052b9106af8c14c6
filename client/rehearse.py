"""The agent's part of a rehearsal: what a round would do around the worker's part, and what is said of it.

The start model is fetched, checked and laid on the spool's disk; the update that the worker leaves there is
made durable and held against the study's own contract by the very rules of the door, and is then thrown
away with everything else. No study is remembered, no round answered. What leaves is one `Rehearsed`, through
the door, under the contract of a rehearsal; the ledger and the site's console say the same. A study that
trains privately is not rehearsed: codes and durations follow from the data, and nothing covers them.

What the worker says of itself is believed for the checks that are its own, and for no others.
"""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from client.consent import Consent
from client.contract import NotFinite, check_release
from client.egress import Released
from client.intake import check_model
from client.jobs import UPDATE_FILE, Ending, Failed, RehearseDone, RehearseJob, RoundDone
from client.receipts import LEDGER_FILE
from client.rehearsal_limit import refuse_beyond_limit
from client.site import Site
from client.spool import written_update
from client.workload import Task, Workload
from shared.address import Stage
from shared.contract import Contract, contract_of
from shared.durable import wait_for_disk
from shared.errors import DiskFull, Refusal, TrustError, WireCode
from shared.rehearsal import (
    CLOCK_TOLERANCE_S,
    MEANINGS,
    Check,
    Code,
    code_for,
    fixes,
    told,
    two_digits,
)
from shared.rehearsal_contract import RehearsalContract, rehearsal_contract
from shared.remarks import Remark, remark
from shared.survey import Survey
from shared.update import payload_limit
from shared.wire import Close, Closed, FromServer, Message, Ready, Rehearse, Rehearsed

if TYPE_CHECKING:
    from client.link import Parcel

PRIVATE = "A study that trains privately is not rehearsed: what a rehearsal says follows from the images."
ROOM_BYTES = 1 << 20  # beside another round's model and update
_WORKERS = {Check.VERSION, Check.DEVICE, Check.IMAGES, Check.MEMORY, Check.WORK, Check.DISK}
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class Rehearsal(Task):
    """A rehearsal in hand: what was found so far, and how long the model was on its way, in seconds."""

    found: dict[Check, Code] = field(default_factory=dict)
    travel_s: float | None = None


_MET = "A rehearsal meets the door: {why}"


class Rehearsals:
    """The rehearsals of one site; nothing of one outlasts its answer.

    Args:
        site: the parts to work with.
        workload: where its work waits for its turn.
        answer: takes what was released in answer to a parcel.
    """

    def __init__(self, site: Site, workload: Workload, *, answer: Callable[["Parcel", Released], None]) -> None:
        self._site = site
        self._workload = workload
        self._answer = answer

    def receive(self, parcel: "Parcel", message: FromServer) -> bool:
        """Begin a rehearsal, or end one before its time; False if the message is about none.

        Raises:
            Refusal: the rehearsal bears another name than its study, is one too many for a day, or its study trains
                privately.
            LinkError: as `Link.fetch`.
        """
        if isinstance(message, Rehearse):
            self._begin(parcel, message)
            return True
        return isinstance(message, Close) and self._stop(parcel, message)

    def conclude(self, task: Task, event: Ending) -> bool:
        """Take what the worker says, try the update at the door, throw it away, and answer.

        Returns:
            False if the task is no rehearsal.
        """
        message = task.message
        if not isinstance(task, Rehearsal) or not isinstance(message, Rehearse):
            return False
        work_s, said, survey = None, None, None
        if isinstance(event, Failed):
            task.found |= told(code_for(event.code))
        elif isinstance(event, RehearseDone):
            task.found |= {check: code for check, code in event.findings.items() if check in _WORKERS}
            said = event.said
            survey = event.survey if message.survey else None
            if event.worked is not None and event.work_s is not None and not fixes(task.found):
                work_s = event.work_s + self._at_the_door(task, message, event.worked)
        self._tell(task.parcel, message, task.found, work_s=work_s, travel_s=task.travel_s, said=said, survey=survey)
        return True

    def _begin(self, parcel: "Parcel", message: Rehearse) -> None:
        """Fetch the model and put the work in the queue; what fails already is answered at once."""
        site, name = self._site, message.address.study
        if name != message.study.name:
            raise Refusal(WireCode.CONTRACT, remedy="The rehearsal bears another name than its study.")
        if message.study.privacy is not None:
            raise Refusal(WireCode.CONTRACT, remedy=PRIVATE)
        Consent(site).to_rehearse(message)
        if self._workload.take_over(parcel, message):
            return
        refuse_beyond_limit(site.folder / LEDGER_FILE, now=site.now())
        found, rehearsal = {Check.CLOCK: self._clock(message)}, None
        try:
            with _finding(found, say=site.say):
                rehearsal = self._prepared(parcel, message, found)
            contract = self._contract(message)
            agreed = {"study": name, "study_digest": contract.study_digest, "contract": contract.digest()}
            site.ledger.append("rehearsal", agreed, time=site.now())
            words = "Rehearsing {study}: one step of a round, of which nothing leaves but codes and two durations."
            site.say(remark(words, study=name))
            if rehearsal is not None:
                self._workload.add(rehearsal)
        except BaseException:
            site.spool.discard(name)
            raise
        if rehearsal is None:
            self._tell(parcel, message, found)

    def _stop(self, parcel: "Parcel", message: Close) -> bool:
        site, name = self._site, message.address.study
        task = self._workload.find(lambda task: isinstance(task, Rehearsal) and task.message.address.study == name)
        if task is None or not isinstance(task.message, Rehearse):
            return False
        contract = self._contract(task.message)
        self._workload.abandon(lambda other: other is task)
        site.spool.discard(name)
        site.ledger.append("rehearsal_ended", {"study": name, "reason": message.reason}, time=site.now())
        self._release(parcel, Closed(address=message.address, head=site.ledger.head), contract)
        site.say(remark("The rehearsal {study}: {reason}.", study=name, reason=message.reason))
        return True

    # ------------------------------------------------------------ the round's own work

    def _prepared(self, parcel: "Parcel", message: Rehearse, found: dict[Check, Code]) -> Rehearsal:
        """The work for the queue, its model on the spool's disk and checked."""
        place = self._site.spool.workplace(message.study.name, 0)
        model, began = place / "incoming.safetensors", time.monotonic()
        try:
            most = min(message.payload_bytes, payload_limit(message.tensors))
            arrived = self._site.link.fetch(parcel, model, limit=most)
        except TrustError:
            raise Refusal(WireCode.MODEL_UNSOUND) from None
        travel_s = time.monotonic() - began
        check_model(model, found=arrived, digest=message.model_digest, tensors=message.tensors)
        job = RehearseJob(
            study=message.study, tensors=message.tensors, model=model, model_digest=message.model_digest, out=place
        )
        return Rehearsal(parcel, message, job, place, found=found, travel_s=travel_s)

    def _at_the_door(self, rehearsal: Rehearsal, message: Rehearse, worked: RoundDone) -> float:
        """Make the update durable and hold it against the study's contract; the seconds that this took."""
        assert rehearsal.workplace is not None
        began, place = time.monotonic(), rehearsal.workplace
        contract = contract_of(message.study, message.tensors, site=self._site.name)
        with _finding(rehearsal.found, say=self._site.say):
            update = written_update(place, limit=contract.payload_bytes)
            if update is None and contract.rounds:
                raise Refusal(WireCode.WORKER_CRASHED)
            payload = place / UPDATE_FILE if update else None
            if payload is not None:
                with payload.open("rb") as file:
                    wait_for_disk(file.fileno())
            size = update[1] if update else 0
            if shutil.disk_usage(place).free < message.payload_bytes + size + ROOM_BYTES:
                raise DiskFull("The spool's disk has too little room for the next round.", remedy="Make room on it.")
            check_release(contract, _report(message, worked, update, contract), payload)
            rehearsal.found[Check.CONTRACT] = Code.PASS
        return time.monotonic() - began

    def _clock(self, message: Rehearse) -> Code:
        """A message may have waited, so that only a clock behind the server's shows in its time.

        One ahead shows in that Flower refuses its stamps; the line follows the server's clock then.
        """
        offset = self._site.link.clock_offset_s
        mine = datetime.fromisoformat(self._site.now()).timestamp()
        if offset < 0:
            return Code.CLOCK_AHEAD
        behind = offset > CLOCK_TOLERANCE_S or mine < message.sent_at - CLOCK_TOLERANCE_S
        return Code.CLOCK_BEHIND if behind else Code.PASS

    # ------------------------------------------------------------ out

    def _tell(
        self,
        parcel: "Parcel",
        message: Rehearse,
        found: dict[Check, Code],
        *,
        work_s: float | None = None,
        travel_s: float | None = None,
        said: str | None = None,
        survey: Survey | None = None,
    ) -> None:
        """Throw the work away and say how it went: to the coordinator in codes, here in words."""
        self._site.spool.discard(message.study.name)
        contract, told_all = self._contract(message), {Check.VERSION: Code.PASS} | found  # the question could be read
        answer = Rehearsed(
            address=message.address,
            contract_digest=contract.digest(),
            findings={check: told_all[check] for check in Check if check in told_all},
            work_s=None if work_s is None or fixes(found) else two_digits(work_s),
            travel_s=None if travel_s is None else two_digits(travel_s),
            survey=survey,
        )
        for line in _words(answer, said):
            self._site.say(line)
        self._release(parcel, answer, contract)

    def _release(self, parcel: "Parcel", message: Message, contract: Contract) -> None:
        self._answer(parcel, self._site.egress.release(message, contract=contract))

    def _contract(self, message: Rehearse) -> RehearsalContract:
        return rehearsal_contract(message.study, site=self._site.name, survey=message.survey)


@contextmanager
def _finding(found: dict[Check, Code], *, say: Callable[[str], None]) -> Iterator[None]:
    """Turn what would end a round here into a finding; `say` hears the rule of the door that was broken."""
    try:
        yield
    except NotFinite as refusal:
        say(Remark(refusal.remedy, event=_MET, level="warning", about={"code": Code.NOT_FINITE.value}))
        found |= told(Code.NOT_FINITE)
    except Refusal as refusal:
        say(Remark(refusal.remedy, event=_MET, level="warning", about={"code": refusal.wire_code.value}))
        found |= told(code_for(refusal.wire_code))
    except DiskFull:
        found |= told(Code.NO_ROOM)
    except OSError as error:
        found |= told(Code.NO_ROOM if error.errno in _NO_ROOM else Code.NOT_WRITABLE)


def _report(message: Rehearse, worked: RoundDone, update: tuple[str, int] | None, contract: Contract) -> Ready:
    """What the site would have reported: of the first round, or of the closing trip where nothing is trained."""
    if contract.rounds:
        place = message.address.model_copy(update={"round": 1, "stage": Stage.TRAIN})
    else:
        place = message.address.model_copy(update={"round": contract.validation_trips + 1, "stage": Stage.EVALUATE})
    return Ready(
        address=place,
        model_digest=message.model_digest,
        update_digest=update[0] if update else None,
        update_bytes=update[1] if update else 0,
        uploaded=update is not None,
        replayed=False,
        counts=worked.counts,
        scores=worked.scores,
        seconds=worked.seconds,
    )


def _words(answer: Rehearsed, said: str | None) -> Iterator[str]:
    """The answer for the site's own console."""
    study = answer.address.study
    for check, code in answer.findings.items():
        if code is not Code.PASS:
            meaning = MEANINGS[code]
            of = {"code": code.value, "study": study, "check": check.value}
            words = "Rehearsal, {check}: {outcome}. {what} {remedy}"
            outcome, what, remedy = meaning.outcome.value.upper(), meaning.what, meaning.remedy
            yield remark(words, level="warning", outcome=outcome, what=what, remedy=remedy, **of)
    if said:
        yield remark("Rehearsal: {said}", said=said, study=study)
    if answer.survey is not None:
        told_counts = "Rehearsal: the coordinator is told counts of images and patients; the ledger says which."
        yield remark(told_counts, study=study)
    if answer.work_s is not None:
        yield remark("Rehearsal: a round takes about {work_s:g} s here.", work_s=answer.work_s, study=study)
