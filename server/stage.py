"""Runs one stage of a study to its closing: asks the seats, reads the answers, takes the updates in.

`Round` decides who is asked and when it is over; this loop moves the messages and writes down what
happened. Every turn also looks whether the study is still ours and whether to stop.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from server import setbacks
from server.admission import Admission
from server.answers import claim_of, last_word, opened_record, ready_record, scored_at_closing
from server.arrival import LOST, NODE_GONE, Arrival, Unreachable
from server.claim import AdmissionReason, Admitted, Expected, Refused
from server.deliveries import Deliveries, Outcome
from server.desk import Desk
from server.lateness import discount_of, norms_for, owed
from server.openings import is_opening, lasting
from server.reception import NotAsAsked, Question, read_answer
from server.record import Record
from server.records import LINE_LOST, SiteRefused, UpdateAdmitted, UpdateRefused, UpdateSpooled
from server.requests import heed
from server.rounds import SETTLED, Ask, Closing, Round
from server.status import live_view
from shared.address import Stage
from shared.errors import NOT_YET, WireCode
from shared.remarks import remark
from shared.wire import Closed, Grant, Message, Opened, Ready, Rehearsed, Uploaded
from shared.wire import Refused as SaidNo

TURN_S = 0.1
QUICK_TURN_S = 0.05
QUICK_FOR_S = 1.0  # after something moved, more follows soon
STATUS_EVERY_S = 1.0
WORKING = (Stage.TRAIN, Stage.VALIDATE, Stage.EVALUATE)


class StageRun:
    """One stage on its way.

    Args:
        desk: the study's parts.
        state: the round's seats.
        question: builds the message for one ask.
        payload: the model that goes with it, if any.
        model_digest: the model that answers must be about.
        admission: the rules for updates; None where no update is wanted.
        expected: what admission awaits.
        scored: what is written of an answer that brings scores alone.
    """

    def __init__(
        self,
        desk: Desk,
        state: Round,
        *,
        question: Callable[[Ask], Message],
        payload: Path | None = None,
        model_digest: str | None = None,
        admission: Admission | None = None,
        expected: Expected | None = None,
        scored: Callable[[str, Ready], Record] = scored_at_closing,
    ) -> None:
        self.admitted: dict[str, Admitted] = {}
        self._desk = desk
        self._state = state
        self._question = question
        self._payload = payload
        self._model_digest = model_digest
        self._admission = admission
        self._expected = expected
        self._scored = scored
        self._asked = dict(desk.openings)
        self._unopened = set(state.seats) - desk.journal.history.declared.keys() if state.stage in WORKING else set()
        self._reopened: set[str] = set()
        if state.stage is not Stage.CLOSE:
            held = desk.journal.history.held
            self._unopened |= held.keys() & state.seats.keys() if state.stage in WORKING else set()
            state.holds({site: said.code.value for site, said in held.items()})
        self._deliveries = Deliveries(desk.link, desk.spool, patience_s=desk.study.transfer.lease_s)
        self._shown_at = self._moved_at = self._looked_at = 0.0

    def run(self) -> Closing:
        """Turn until the round closes.

        Raises:
            StopAsked, PauseAsked: the coordinator asked for it.
            StaleEpoch: another process owns the study now.
            LinkError: the SuperLink is gone.
        """
        try:
            while (closing := self._state.closing(time.monotonic())) is None:
                if self._turn():
                    self._moved_at = time.monotonic()
                else:
                    time.sleep(QUICK_TURN_S if time.monotonic() - self._moved_at < QUICK_FOR_S else TURN_S)
            return closing
        finally:
            self._deliveries.abort_all()
            self._desk.openings = lasting(self._asked, stage=self._state.stage, rounds=self._desk.study.rounds)
            for message_id in self._asked.keys() - self._desk.openings.keys():
                self._desk.link.withdraw(message_id)

    def readmit(self, answers: Mapping[str, Ready]) -> None:
        """Count what an earlier owner had admitted, by site; the line to the others was lost with that owner."""
        for site, answer in answers.items():
            self._state.ready(site, answer, now=time.monotonic())
            self._take_in(site)
        for site in self._state.seats:
            self._state.lost(site, LINE_LOST, now=time.monotonic())

    def _turn(self) -> bool:
        """Do what is to be done now; whether anything moved."""
        desk, now = self._desk, time.monotonic()
        if now - self._looked_at >= QUICK_TURN_S:  # many answers in a row bring many turns
            self._looked_at = now
            desk.owner.check()
            self._settle_removed()
        ending = heed(desk.folder, self._state)
        moved = self._go_out(now, ask=not ending)
        arrivals = desk.link.poll()
        for arrival in arrivals:
            self._receive(arrival)
        outcomes = self._deliveries.turn(now)
        for site, outcome in outcomes.items():
            self._delivered(site, outcome)
        if now - self._shown_at >= STATUS_EVERY_S:
            self._shown_at = now
            desk.folder.write_status(live_view(desk, self._state))
        return moved or bool(arrivals) or any(outcome is not Outcome.WAITING for outcome in outcomes.values())

    # ------------------------------------------------------------ out

    def _go_out(self, now: float, *, ask: bool) -> bool:
        """Ask, if anybody may be asked, and grant; whether there was anything to send."""
        online = self._desk.link.online() if ask and self._state.unasked else ()
        asks = self._state.asks(online, now=now, spooled=self._held() if online else ())
        for question in asks:
            self._ask(question)
        grants = self._state.grants(now=now)
        for site in grants:
            self._grant(site)
        return bool(asks or grants)

    def _ask(self, ask: Ask) -> None:
        if ask.attempt == 1 and ask.site in self._unopened and is_opening(ask.site, self._asked):
            return
        self._withdraw(ask.site)
        if ask.site in self._unopened:
            self._send(ask.site, self._desk.opening(self._state.number, ask.attempt), self._desk.backbone)
        else:
            self._send(ask.site, self._question(ask), self._payload)

    def _grant(self, site: str) -> None:
        seat = self._state.seats[site]
        assert seat.ready is not None and seat.ready.update_digest is not None
        place = self._desk.address(Stage.UPLOAD, self._state.number, seat.attempt)
        lease_s = self._desk.study.transfer.lease_s
        self._send(site, Grant(address=place, update_digest=seat.ready.update_digest, lease_s=lease_s))

    def _send(self, site: str, message: Message, payload: Path | None = None) -> None:
        try:
            message_id = self._desk.push(site, message, payload)
        except Unreachable:
            self._lose(site, LINE_LOST)
            return
        desk = self._desk
        owing = owed(site, desk.journal.history, desk.study.rounds) if self._admission else {}
        patients = desk.declared_patients(site)
        self._asked[message_id] = Question(site, message.address, self._model_digest, owing, patients)

    def _withdraw(self, site: str) -> None:
        for message_id in [m for m, q in self._asked.items() if q.site == site]:
            self._desk.link.withdraw(message_id)
            del self._asked[message_id]

    def _held(self) -> set[str]:
        """Sites whose update of this round lies in the spool already."""
        return self._desk.spool.held(self._state.number) if self._admission else set()

    # ------------------------------------------------------------ in

    def _receive(self, arrival: Arrival) -> None:
        desk, question = self._desk, self._asked.pop(arrival.message_id, None)
        if question is None or question.site not in self._state.seats:
            desk.link.drop(arrival)  # an answer to a question that was asked anew, or that nobody awaits now
            return
        site = question.site
        if arrival.error in (LOST, NODE_GONE):
            self._lose(site, LINE_LOST)
            return
        if arrival.error is not None:
            self._refuse(site, AdmissionReason.MALFORMED, "the answer is not in the form of an answer")
            return
        try:
            answer = read_answer(arrival, question, roster=desk.roster(), contract=desk.contract(site), at=time.time())
        except NotAsAsked as fault:
            desk.link.drop(arrival)
            self._refuse(site, fault.cause, fault.what)
            return
        desk.hear_head(site, answer)
        desk.answered(arrival.message_id, answer)
        if not (isinstance(answer, Uploaded) or (isinstance(answer, Ready) and answer.uploaded)):
            desk.link.drop(arrival)
        self._act(site, answer, arrival)

    def _act(self, site: str, answer: Message, arrival: Arrival) -> None:
        now = time.monotonic()
        match answer:
            case SaidNo(refusal=WireCode.UNKNOWN_STUDY | WireCode.CONTRACT_EXPIRED) if self._may_reopen(site):
                self._reopened.add(site)
                self._unopened.add(site)
                setbacks.reopen(self._desk, self._state, site, answer.refusal)
            case SaidNo() if answer.refusal in NOT_YET and self._state.stage in (Stage.OPEN, *WORKING):
                self._unopened |= {site} if self._state.stage in WORKING else set()
                setbacks.hold(self._desk, self._state, site, answer.refusal)
            case SaidNo():
                said = SiteRefused(round=self._state.number, site=site, code=answer.refusal, rule=answer.rule)
                setbacks.decline(self._desk, self._state, said, setbacks.too_old(answer))
            case Opened():
                self._opened(site, answer)
            case Ready():
                self._ready(site, answer, arrival)
            case Uploaded():
                self._uploaded(site, answer, arrival)
            case Rehearsed() | Closed():
                self._desk.write(last_word(site, answer))
                self._state.admitted(site, now=now)

    def _may_reopen(self, site: str) -> bool:
        """Once in a round: a site may have lost the study, but not each time anew."""
        return self._state.stage in WORKING and site not in self._reopened

    def _opened(self, site: str, answer: Opened) -> None:
        desk, now = self._desk, time.monotonic()
        if answer.contract_digest != desk.contract(site).under(answer.terms).digest():
            self._refuse(site, WireCode.CONTRACT, "the site's contract is another one")
            return
        desk.write(opened_record(site, answer))
        self._state.agreed(site)
        if site in self._unopened:
            self._unopened.discard(site)
            self._state.lost(site, "reopened", now=now)
        else:
            self._state.admitted(site, now=now)

    def _ready(self, site: str, answer: Ready, arrival: Arrival) -> None:
        desk, now = self._desk, time.monotonic()
        if self._admission is None:
            if answer.uploaded:
                desk.link.drop(arrival)
            desk.write(self._scored(site, answer))
            self._state.admitted(site, now=now)
            return
        if answer.update_digest is None or answer.update_bytes > desk.update_limit:
            desk.link.drop(arrival)
            self._refuse(site, AdmissionReason.OVERSIZE, "the announced update is absent or larger than agreed")
            return
        desk.write(ready_record(site, self._state.number, answer))
        held = desk.spool.find(self._state.number, site, answer.update_digest)
        self._state.ready(site, answer, now=now)
        if held is not None:
            if answer.uploaded:
                desk.link.drop(arrival)
            self._take_in(site)
        elif answer.uploaded:
            self._deliveries.start(site, answer, arrival, now=now)

    def _uploaded(self, site: str, answer: Uploaded, arrival: Arrival) -> None:
        ready = self._state.seats[site].ready
        if ready is None or (answer.update_digest, answer.update_bytes) != (ready.update_digest, ready.update_bytes):
            self._desk.link.drop(arrival)
            self._refuse(site, AdmissionReason.DIGEST, "the update is not the one that was announced")
            return
        self._deliveries.start(site, ready, arrival, now=time.monotonic())

    def _delivered(self, site: str, outcome: Outcome) -> None:
        match outcome:
            case Outcome.SPOOLED:
                self._take_in(site)
            case Outcome.ADVANCED:
                self._state.progress(site, share=self._deliveries.share(site), now=time.monotonic())
            case Outcome.LOST:
                self._lose(site, "the upload broke off")
            case Outcome.WRONG:
                self._refuse(site, AdmissionReason.DIGEST, "the update's bytes are not those announced")

    def _take_in(self, site: str) -> None:
        """An update is whole in the spool: write that down, and let admission decide."""
        desk, ready = self._desk, self._state.seats[site].ready
        assert ready is not None and ready.update_digest is not None
        assert self._admission is not None and self._expected is not None
        self._state.spooled(site, now=time.monotonic())
        number, digest = self._state.number, ready.update_digest
        desk.write(UpdateSpooled(round=number, site=site, update_digest=digest, update_bytes=ready.update_bytes))
        path = desk.spool.find(number, site, digest)
        assert path is not None
        history = desk.journal.history
        norms, counted = norms_for(ready.late, history), frozenset(self.admitted)
        expected = replace(self._expected, admitted=counted, declared=history.declared, norms=norms)
        try:
            update = self._admission.admit(claim_of(site, ready), path, expected)
        except Refused as refusal:
            about = {"site": site, "round": number, "code": refusal.reason.value}
            desk.say(remark("{site}: {why}", level="warning", why=refusal.what, **about))
            desk.write(UpdateRefused(round=number, site=site, reasons=refusal.reasons, detail=refusal.detail))
            self._state.refused(site, refusal.reason.value, now=time.monotonic())
            return
        late_from = ready.late.round if ready.late else None
        self._count(replace(update, discount=discount_of(late_from or number, number, desk.study.rounds)), late_from)

    def _count(self, update: Admitted, late_from: int | None) -> None:
        self.admitted[update.site] = update
        self._desk.write(
            UpdateAdmitted(
                round=self._state.number,
                site=update.site,
                update_digest=update.update_digest,
                examples=update.examples,
                norm=update.norm,
                late_from=late_from,
                discount=update.discount,
            )
        )
        self._state.admitted(update.site, now=time.monotonic())

    # ------------------------------------------------------------ no

    def _settle_removed(self) -> None:
        """A site that is no longer on the roster, or whose keys have expired, is waited for no longer."""
        members = self._desk.members(time.time())
        for seat in self._state.seats.values():
            if seat.phase not in SETTLED and seat.site not in members:
                self._withdraw(seat.site)
                self._deliveries.abort(seat.site)
                setbacks.remove(self._desk, self._state, seat.site)

    def _lose(self, site: str, cause: str) -> None:
        if self._state.seats[site].phase not in SETTLED:
            self._deliveries.abort(site)
            setbacks.lose(self._desk, self._state, site, cause)

    def _refuse(self, site: str, cause: AdmissionReason | WireCode, detail: str) -> None:
        setbacks.refuse(self._desk, self._state, site, cause, detail)
