"""Conducts a study: open, rounds, trips, close; and commits each round in a fixed order.

    spooled -> admitted -> folded -> journal so far (fsync) -> checkpoint (temporary, fsync, rename)
    -> journal -> receipts

It can be killed at any line: what is committed is in the journal and the checkpoint, what arrived
is in the spool, and a new owner goes on from there.
"""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from server.admission import Admission
from server.aggregate import fold
from server.amending import take_up
from server.checkpoint import Checkpoints, Participation, model_missing
from server.claim import Admitted, Expected, share_of
from server.cohort import draw, sample_size
from server.desk import Desk
from server.efforts import efforts_of
from server.keeping import keep_updates
from server.lateness import cut_off, slots_for
from server.publishing import publish
from server.readmission import admitted_before
from server.receipts import receipts_for
from server.records import RoundFailed, RoundOpened, StudyFailed, StudyFinished, StudyPaused, StudyStopped, reason_of
from server.requests import PauseAsked, StopAsked, heed
from server.rounding import mover_of
from server.rounds import Ask, Closing, Round
from server.selector import Selector
from server.stage import WORKING, StageRun
from server.study_folder import StudyState
from server.trips import Trip, Trips
from shared.address import Stage
from shared.clock import utc_now
from shared.errors import DiskFull, LinkError, StaleEpoch, StudyError, WardroundError
from shared.randomness import StudyRandom
from shared.receipt import Receipt
from shared.remarks import remark, trouble
from shared.update import PackedFile
from shared.wire import Close, Message, Work

ABSENCE_S = 60.0  # at the opening; a site that connects later joins the next round
CLOSE_PATIENCE_S = 15.0
CLOSE_ABSENCE_S = 1.0  # the close does not wait for a site that is away
_PAUSED = "Study {study} is paused after {rounds} rounds."
_FINISHED = "Study {study} is finished after {rounds} rounds."
_COUNTED = "Round {round}/{rounds}: counted {counted} of {asked}."


class Conductor:
    """One study under one owner.

    Args:
        desk: the study's parts.
        checkpoints: where the global models lie.
    """

    def __init__(self, desk: Desk, checkpoints: Checkpoints) -> None:
        self._desk = desk
        self._history = desk.journal.history
        self._checkpoints = checkpoints
        self._selector = Selector(desk)
        self._trips = Trips(desk, checkpoints, self._selector, score=self._score)
        study = desk.study
        self._optimizer = mover_of(study)
        self._admission = Admission(
            desk.update_tensors,
            norm_factor=study.admission.norm_factor,
            training=study.training,
            alike=study.privacy is not None,
            digest_of=desk.spool.digest_of,
        )

    def run(self) -> None:
        """Take the study to its end, whatever that is, and tell the sites; or to where it is paused.

        Raises:
            StaleEpoch: another process owns the study now.
            LinkError: the SuperLink is gone; a new owner will go on.
            DiskFull: a new owner will go on when there is room.
        """
        desk = self._desk
        try:
            if not isinstance(self._history.ended, StudyFinished):  # else only its end was cut short
                self._go_through()
            publish(self._desk, self._trips.model(self._history.final_round))
        except StopAsked:
            desk.write(StudyStopped(reason="the coordinator asked to stop"))
            self._end("stopped", StudyState.STOPPED, reason="The coordinator asked to stop.")
        except PauseAsked:
            desk.write(StudyPaused())
            self._move(StudyState.PAUSED, reason="The coordinator asked to pause.")
            desk.say(remark(_PAUSED, study=desk.study.name, rounds=self._history.last_round))
        except (StaleEpoch, LinkError, DiskFull):
            raise
        except WardroundError as error:
            desk.write(StudyFailed(reason=reason_of(error)))
            self._end("failed", StudyState.FAILED, reason=error.what, remedy=error.remedy)
            desk.say(trouble(error))
        else:
            self._finish()

    def _finish(self) -> None:
        desk, digest = self._desk, self._history.final_digest
        assert digest is not None
        if not isinstance(self._history.ended, StudyFinished):
            desk.write(StudyFinished(model_digest=digest))
        self._end("finished", StudyState.FINISHED)
        desk.say(remark(_FINISHED, study=desk.study.name, rounds=self._history.last_round))

    def _end(
        self,
        word: Literal["finished", "stopped", "failed"],
        state: StudyState,
        *,
        reason: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self._close(word)
        self._move(state, reason=reason, remedy=remedy)

    def _move(self, state: StudyState, *, reason: str | None, remedy: str | None = None) -> None:
        with self._desk.owner.guard():
            self._desk.folder.move(state, now=utc_now(), reason=reason, remedy=remedy)

    # ------------------------------------------------------------ stages

    def _go_through(self) -> None:
        take_up(self._desk)
        self._open()
        while self._rounds_left():
            self._train(self._history.last_round + 1)
        self._trips.run()

    def _rounds_left(self) -> bool:
        """Whether another round is to be run; an amendment that came meanwhile is put to the sites first."""
        heed(self._desk.folder)
        if take_up(self._desk):
            self._open()
        return not self._selector.ends_training()

    def _open(self) -> None:
        state = self._round(Stage.OPEN, 0, absence_s=ABSENCE_S)
        desk = self._desk
        run = StageRun(desk, state, question=lambda ask: desk.opening(0, ask.attempt), payload=desk.backbone)
        self._insist(run.run(), "open the study")

    def _train(self, number: int) -> None:
        desk, model = self._desk, self._trips.model(number - 1)
        digest = self._history.model_digest
        assert digest is not None
        opened = self._drawn(number)
        again = desk.study.rounds.buffer is not None and self._history.asked[0] == number
        before = admitted_before(self._history, desk.spool, address=desk.address(Stage.TRAIN, number, 1))
        desk.write(RoundOpened(round=number, epoch=desk.owner.epoch, model_digest=digest, cohort=opened))
        limit = desk.update_limit
        state = self._round(Stage.TRAIN, number, cohort=opened, update_bytes=limit, slot_bytes=desk.slot_bytes)
        run = StageRun(
            desk,
            state,
            question=lambda ask: self._work(Stage.TRAIN, number, ask, model, digest),
            payload=model,
            model_digest=digest,
            admission=self._admission,
            expected=self._expected(),
        )
        if again:
            run.readmit({site: answer for site, answer in before.items() if site in opened})
        closing = run.run()
        if not closing.enough:
            desk.write(RoundFailed(round=number, counted=closing.counted, missing=closing.missing))
        self._insist(closing, f"finish round {number}")
        self._commit(number, digest, closing, run.admitted)

    def _score(self, trip: Trip) -> Closing:
        """Have the sites score a model after the rounds."""
        quorum, patience_s = (None, None) if trip.needed else (1, ABSENCE_S)
        state = self._round(
            trip.stage,
            trip.number,
            cohort=self._present(),
            quorum=quorum,
            absence_s=patience_s,
            grace_s=patience_s,
        )
        closing = StageRun(
            self._desk,
            state,
            question=lambda ask: self._work(trip.stage, trip.number, ask, trip.model, trip.digest),
            payload=trip.model,
            model_digest=trip.digest,
            scored=trip.record,
        ).run()
        if trip.needed:
            self._insist(closing, f"score the {'last' if trip.stage is Stage.VALIDATE else 'final'} model")
        return closing

    def _close(self, reason: Literal["finished", "stopped", "failed"]) -> None:
        number = self._history.last_round + 1
        state = self._round(Stage.CLOSE, number, quorum=0, deadline_s=CLOSE_PATIENCE_S, absence_s=CLOSE_ABSENCE_S)

        def question(ask: Ask) -> Message:
            place = self._desk.address(Stage.CLOSE, number, ask.attempt)
            heads = self._desk.heads.held(ask.site)
            return Close(address=place, reason=reason, receipts=self._receipts(ask.site), heads=heads)

        StageRun(self._desk, state, question=question).run()

    # ------------------------------------------------------------ commit

    def _commit(self, number: int, previous: str, closing: Closing, admitted: dict[str, Admitted]) -> None:
        """Fold, step, checkpoint, journal; the receipts ride on the next message to each site."""
        desk, updates = self._desk, [admitted[site] for site in closing.counted]
        model = PackedFile(self._trips.model(number - 1))
        efforts = efforts_of(desk.study.training, (update.steps for update in updates))
        share = share_of(updates, self._history.declared)
        weighed = [(update.weight, update.packed) for update in updates]
        total = sum(update.examples for update in updates) if desk.study.rounds.buffer else None
        aggregate = fold(weighed, model, efforts=efforts, share=share, total=total)
        remembered = self._checkpoints.moments(number, kinds=self._optimizer.kinds, tensors=desk.tensors)
        with desk.owner.guard(), remembered as moments:
            if desk.study.rounds.keep_updates:
                keep_updates(desk.folder.path, number, updates)
            desk.journal.sync()  # the journal may say less than a checkpoint by one entry, never by more
            checkpoint = self._checkpoints.save(
                desk.tensors,
                self._optimizer.step(model, aggregate, moments),
                number=number,
                epoch=desk.owner.epoch,
                previous_digest=previous,
                participation=Participation(
                    counted=closing.counted, late=closing.late, refused=closing.refused, absent=closing.absent
                ),
                norms=self._history.norms.after(tuple(update.norm for update in updates)),
                moments=moments,
            )
            desk.journal.write(checkpoint.committed)
        self._checkpoints.prune(number, keep=range(number) if desk.study.selection.model == "best" else ())
        desk.spool.forget_before(number if desk.study.selection.cross_site else number + 1)
        counted, asked = len(closing.counted), len(closing.asked)
        desk.say(remark(_COUNTED, round=number, rounds=desk.study.rounds.count, counted=counted, asked=asked))

    def reconcile(self) -> None:
        """Write the journal entry of a checkpoint that a crash left without one."""
        latest = self._checkpoints.latest_sound()
        if latest is not None and latest.round == self._history.last_round + 1:
            self._desk.write(latest.committed)
        if (latest.round if latest else 0) < self._history.last_round:
            raise model_missing(self._history.last_round)

    # ------------------------------------------------------------ parts

    def _round(
        self,
        stage: Stage,
        number: int,
        *,
        cohort: Iterable[str] | None = None,
        quorum: int | None = None,
        deadline_s: float | None = None,
        update_bytes: int = 0,
        slot_bytes: int = 0,
        absence_s: float | None = None,
        grace_s: float | None = None,
    ) -> Round:
        spec = self._desk.study.rounds
        grace_s = spec.grace_s if stage in WORKING and spec.grace_s is not None else grace_s
        asked = tuple(self._desk.cohort if cohort is None else cohort)
        if stage is not Stage.OPEN:
            self._desk.write(self._desk.heads.note(stage, number))
        return Round(
            stage=stage,
            number=number,
            cohort=asked,
            quorum=spec.quorum if quorum is None else quorum,
            opened_at=time.monotonic(),
            deadline_s=spec.deadline_s if deadline_s is None else deadline_s,
            update_bytes=update_bytes,
            slot_bytes=slot_bytes,
            lease_s=self._desk.study.transfer.lease_s,
            absence_s=absence_s,
            grace_s=grace_s,
            buffer=spec.buffer if stage in (Stage.OPEN, Stage.TRAIN) else None,
            slots_for=slots_for(asked, self._history, spec) if stage is Stage.TRAIN else None,
            cut_off=cut_off(self._history),
        )

    def _present(self) -> tuple[str, ...]:
        """Sites of the cohort that opened the study, and those that are connected and may still."""
        members, opened = self._desk.members(time.time()), self._history.declared.keys()
        there = opened if members <= opened else opened | self._desk.link.online()
        return tuple(sorted(there & members))

    def _drawn(self, number: int) -> tuple[str, ...]:
        """The sites that a round asks; of a sample, after a restart, those that it had asked."""
        present, study = self._present(), self._desk.study
        if study.rounds.sample is None:
            return present
        opened, before = self._history.asked
        if opened == number:
            return tuple(site for site in before if site in present)
        assert self._history.started is not None
        cohort = self._history.started.cohort
        return draw(
            cohort,
            set(present),
            self._desk.link.online(),
            size=sample_size(study.rounds.sample, len(cohort)),
            random=StudyRandom(study.study.seed).child("cohort", number),
        )

    def _work(self, stage: Stage, number: int, ask: Ask, model: Path, digest: str) -> Work:
        return Work(
            address=self._desk.address(stage, number, ask.attempt),
            study_digest=self._desk.study.digest(),
            model_digest=digest,
            previous_digest=self._trips.digest_before(number),
            payload_bytes=model.stat().st_size,
            slot_bytes=self._desk.update_limit if ask.slot_granted else 0,
            counted_round=self._history.counted_round(ask.site),
            receipts=self._receipts(ask.site),
            heads=self._desk.heads.held(ask.site),
        )

    def _receipts(self, site: str) -> tuple[Receipt, ...]:
        desk = self._desk
        return receipts_for(site, self._history, desk.heads.held(site), key=desk.key, now=utc_now())

    def _expected(self) -> Expected:
        return Expected(
            declared=self._history.declared,
            norms=self._history.norms,
            seen=self._history.seen,
        )

    @staticmethod
    def _insist(closing: Closing, what: str) -> None:
        if not closing.enough:
            raise StudyError(
                f"Too few sites to {what}: {len(closing.counted)} counted; missing: {closing.told}.",
                remedy="Call the sites that are missing, then `wardround study resume`; or lower rounds.quorum.",
            )
