"""What a site does with each message, and with each word from its worker.

A message is opened and checked, turned into a job or an answer, and answered exactly once, through
the door. Nothing here knows the network or the images: answers go to `answer`, jobs to the worker.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from client.arrivals import Arrivals
from client.backbone_fetch import fetch_backbone, forget_backbones
from client.consent import Consent
from client.egress import Released
from client.heads import HeadCheck
from client.intake import (
    check_agreed,
    check_amended,
    check_epoch,
    check_model,
    check_told,
    late_rounds,
    outdates,
)
from client.jobs import CloseJob, Ending, Event, Failed, OpenJob, Progress, job_for
from client.link import Parcel
from client.rehearse import Rehearsals
from client.renewal import Renewals
from client.replies import Replies
from client.results import Results
from client.seen_model import check_moved
from client.site import Site
from client.study_store import StudyRecord
from client.traffic import write_traffic
from client.unforeseen import refusing_the_unforeseen
from client.workload import Task, Workload
from shared.address import UNADDRESSED
from shared.errors import ELSEWHERE, NOT_YET, DiskFull, ProtocolError, Refusal, TrustError, WireCode, refusing_disk_full
from shared.receipt import Receipt
from shared.remarks import remark, trouble
from shared.wire import Close, Closed, FromServer, Grant, Open, Work

WORKER_TRIES = 3


class Answering:
    """Takes messages in, and the worker's words on what is in hand.

    Args:
        site: the parts to work with.
        answer: takes what was released in answer to a parcel.
        later: takes back a parcel whose work is done but whose answer, not even a no, could be written
            down, because the ledger's disk is full. It is to be received again.

    Attributes:
        renewals: takes the admissions that messages carry.
    """

    def __init__(
        self, site: Site, *, answer: Callable[[Parcel, Released], None], later: Callable[[Parcel], None]
    ) -> None:
        self._site = site
        self._later = later
        self._arrivals = Arrivals(site)
        self._workload = Workload(site)
        self._heads = HeadCheck(site)
        self.renewals = Renewals(site)
        self._rehearsals = Rehearsals(site, self._workload, answer=answer)
        self._consent = Consent(site)
        self._replies = Replies(site, answer=answer)
        self._results = Results(site, self._replies, consent=self._consent)

    @property
    def current(self) -> Task | None:
        """The task that the worker is on."""
        return self._workload.current

    def receive(self, parcel: Parcel) -> None:
        """Answer one message from the server, or put its job in the queue.

        Raises:
            LinkError: the line is down, receive it again later; or `MessageGone`, nobody waits for it.
            DiskFull: not even a refusal can be written down; receive it again later.
        """
        site = self._site
        try:
            message, envelope = self._arrivals.opened(parcel.envelope)
        except ProtocolError as error:
            site.say(trouble(error))
            self._replies.refuse(parcel, Refusal(WireCode.PROTOCOL), address=UNADDRESSED, record=None)
            return
        except TrustError as error:
            if site.seldom.append("message_discarded", {"code": error.code}):
                why = f"{error.what} {error.remedy}"
                site.say(remark("A message was thrown away: {why}", level="error", why=why, code=error.code))
            site.link.drop(parcel)
            return
        parcel = replace(parcel, envelope=envelope)
        record = site.studies.find(message.address.study)
        try:
            with refusing_the_unforeseen(), refusing_disk_full():
                self._act(parcel, message, record)
        except Refusal as refusal:
            if refusal.wire_code not in NOT_YET:  # that was said once, and will be asked again and again
                why = refusal.what if refusal.remedy == ELSEWHERE else f"{refusal.what} {refusal.remedy}"
                place, code = message.address, refusal.wire_code.value
                what = {"kind": message.type, "study": place.study, "round": place.round, "code": code}
                site.say(remark("Refused {kind} of round {round}: {why}", level="warning", why=why, **what))
            self._replies.refuse(parcel, refusal, address=message.address, record=record)
            if refusal.wire_code is WireCode.LEFT and record is not None:
                self._over(record)

    def hear(self, event: Event) -> bool:
        """Take the worker's result for the current task, answer, and go on with the next task.

        Returns:
            False if the worker said what does not belong to its task. It was ended as after a crash, and
            whatever else that worker said is void.
        """
        task = self.current
        if isinstance(event, Progress) and task is not None:
            task.progress, task.signed = event, self._site.now()
        if not isinstance(event, Ending) or task is None:
            return True
        if not task.ended_by(event):
            self._site.say(remark("The worker answered something else than it was asked.", level="error"))
            self.worker_died()
            return False
        self._end(task, event)
        return True

    def _end(self, task: Task, came: Ending | Refusal) -> None:
        """Answer with what the current task came to, and go on with the next."""
        self._workload.done()
        try:
            self._answer_with(task, came)
        except DiskFull as error:
            self._site.say(trouble(error, "{error} The answer is made again when there is room."))
            self._later(task.parcel)
        else:
            if isinstance(task.message, Open):
                forget_backbones(self._site, self._workload.opening)
        self._workload.go_on()

    def _answer_with(self, task: Task, came: Ending | Refusal) -> None:
        try:
            with refusing_the_unforeseen(), refusing_disk_full():
                if isinstance(came, Refusal):
                    raise came
                if not self._rehearsals.conclude(task, came):
                    self._results.conclude(task, came)
        except Refusal as refusal:
            study = task.message.address.study
            no = "The study {study} was answered with no: {error}"
            self._site.say(trouble(refusal, no, study=study, round=task.round))
            record = self._site.studies.find(study)
            self._replies.refuse(task.parcel, refusal, address=task.message.address, record=record)

    def worker_died(self) -> None:
        """Repeat the current task with a new worker; give up after three tries."""
        site, task = self._site, self.current
        site.worker.end()
        try:
            site.ledger.append("worker_restarted", {"during": task.job.job if task else "idle"}, time=site.now())
        except DiskFull as error:
            site.say(trouble(error))
        if task is None:
            return
        if task.tries >= WORKER_TRIES:
            self.hear(Failed(code=WireCode.WORKER_CRASHED))
            return
        if task.tries > 1:  # once may be chance
            site.alarm.ring(Refusal(WireCode.WORKER_CRASHED), study=task.message.address.study, number=task.round)
        of = {"study": task.message.address.study, "round": task.round}
        site.say(remark("The worker ended by itself; starting another one on the same work.", level="error", **of))
        try:
            self._workload.repeat()
        except Refusal as refusal:
            self._end(task, refusal)

    # ------------------------------------------------------------ messages

    def _act(self, parcel: Parcel, message: FromServer, record: StudyRecord | None) -> None:
        check_epoch(record, message)
        check_told(message)
        self.renewals.take(message)
        if record is None and self._rehearsals.receive(parcel, message):
            return
        if isinstance(message, Open):
            check_amended(record, message, coordinator=self._site.enrolment.coordinators.keys)
            self._consent.to_open(message, parcel.envelope)
            fetch_backbone(self._site, parcel, message)
            if not self._workload.take_over(parcel, message):
                self._workload.add(Task(parcel, message, OpenJob(study=message.study, tensors=message.tensors)))
            return
        if record is None:
            if isinstance(message, Close):
                self._consent.closed(message.address.study)
                self._site.purse.give_back(message.address.study)
            raise Refusal(WireCode.UNKNOWN_STUDY)
        if message.address.epoch > record.epoch:
            record = record.model_copy(update={"epoch": message.address.epoch})
            self._site.studies.save(record)
        check_agreed(record, message, site=self._site.name)
        self._heads.take(message)
        if record.closed and isinstance(message, Work | Grant):
            raise Refusal(WireCode.UNKNOWN_STUDY, remedy="It is closed here; whoever goes on with it opens it anew.")
        if isinstance(message, Work):
            given = False
            if rounds := late_rounds(message, record.open.study):
                record, given = self._answer_late(parcel, message, record, rounds)
            self._workload.abandon(lambda task: outdates(message, task.message))
            self._settle(message.address.study, message.receipts, before=message.address.round, given=given)
            self._work(parcel, message, record)
        elif isinstance(message, Grant):
            self._upload(parcel, message, record)
        elif isinstance(message, Close):
            self._close(parcel, message, record)
        else:
            raise Refusal(WireCode.CONTRACT, remedy="A study of that name is known here; a rehearsal has its own.")

    def _answer_late(
        self, parcel: Parcel, message: Work, record: StudyRecord, rounds: range
    ) -> tuple[StudyRecord, bool]:
        """Work of one of these rounds, finished or in hand, answers this message; whether there is any."""
        site, place = self._site, message.address
        record = record.with_model(place.round, message.model_digest, message.previous_digest)
        done = site.spool.newest_unforgotten(place.study, rounds)
        if done is None:
            given = self._workload.carry_over(parcel, message)
        else:
            given = True
            if site.spool.find(place.study, place.round, message.model_digest) is None:
                site.spool.carry(done, message)
        site.studies.save(record)
        return record, given

    def _work(self, parcel: Parcel, message: Work, record: StudyRecord) -> None:
        site, place = self._site, message.address
        self._consent.to_work(record)
        done = site.spool.find(place.study, place.round, message.model_digest)
        if done is not None:
            self._results.replay(parcel, message, record, done)
            return
        if self._workload.take_over(parcel, message):
            return
        record = record.with_model(place.round, message.model_digest, message.previous_digest)
        study = record.open.study
        needs = study.keeps_state
        keeps, counted = needs or study.keeps_residual, message.counted_round
        state = site.spool.go_on(study.name, counted=counted, before=place.round, keeps=keeps, needs=needs)
        workplace = site.spool.workplace(place.study, place.round)
        model = workplace / "incoming.safetensors"
        try:
            found = site.link.fetch(parcel, model, limit=message.payload_bytes)
        except TrustError:
            raise Refusal(WireCode.MODEL_UNSOUND) from None
        check_model(model, found=found, digest=message.model_digest, tensors=record.open.tensors)
        moved = check_moved(model, workplace.parent, work=message, policy=site.settings.policy)
        received: dict[str, object] = {"study": place.study, "round": place.round, "model_digest": message.model_digest}
        if moved is not None:
            received["moved"] = moved
        if owner := record.contract(site.name).own_model_at(place.round):
            received["own_model_of"] = owner
        site.ledger.append("model_received", received, time=site.now(), wait=False)  # the release from it waits
        site.studies.save(record)
        job = job_for(message, study, model=model, state=state, out=workplace)
        self._workload.add(Task(parcel, message, job, workplace))

    def _upload(self, parcel: Parcel, message: Grant, record: StudyRecord) -> None:
        place = message.address
        self._consent.to_upload(record)
        done = self._site.spool.find_update(place.study, place.round, message.update_digest)
        if done is None or done.update is None:
            raise Refusal(WireCode.SUPERSEDED)
        self._results.upload(parcel, message, record, done)

    def _close(self, parcel: Parcel, message: Close, record: StudyRecord) -> None:
        site, study = self._site, message.address.study
        self._workload.abandon(lambda task: task.message.address.study == study)
        if site.worker.pid is not None:
            site.worker.submit(CloseJob(study_digest=record.open.study.digest()))
        self._consent.closed(study)
        site.spool.clear(study)
        self._settle(study, message.receipts, before=message.address.round)
        site.purse.give_back(study)
        site.studies.save(record.model_copy(update={"closed": True}))
        write_traffic(site, study)
        site.ledger.append("study_closed", {"study": study, "reason": message.reason}, time=site.now())
        site.ledger.sign_head(time=site.now())
        self._replies.release(parcel, Closed(address=message.address, head=site.ledger.head), record)
        with suppress(DiskFull):  # the answer is given; whoever signs next covers its release
            site.ledger.sign_head(time=site.now(), wait=False)
        site.say(remark("Study {study}: {reason}.", study=study, reason=message.reason))
        forget_backbones(self._site, self._workload.opening)

    def _over(self, record: StudyRecord) -> None:
        """A study is over here without its coordinator's word, which has been told."""
        with suppress(DiskFull):  # it is told again, and over then
            self._site.purse.give_back(record.open.study.name)
            self._site.studies.save(record.model_copy(update={"closed": True}))

    def _settle(self, study: str, receipts: tuple[Receipt, ...], *, before: int, given: bool = False) -> None:
        """Write receipts down; updates of rounds that are over need not be kept.

        That work is lost is said on the console, unless it is given in a later round.
        """
        site = self._site
        dropped = site.spool.forget_updates(study, through=before - 1, in_hand=self._workload.workplaces)
        for receipt in receipts:
            if receipt.outcome == "late" and not given:
                why = "its work came too late" if receipt.round in dropped else "it had no work to show in time"
                closed = "Round {round} of {study} closed without this site: {why}."
                site.say(remark(closed, level="warning", round=receipt.round, study=study, why=why))
            if receipt.round in dropped:
                site.ledger.append("receipt", receipt.model_dump(mode="json"), time=site.now(), wait=False)
        if dropped:
            site.ledger.sign_head(time=site.now(), wait=False)
