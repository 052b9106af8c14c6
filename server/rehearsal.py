"""Conducts a rehearsal: asks every site of a study once, waits for each until the deadline, and closes.

It has a folder, a journal and an owner as a study has, takes its turn in the queue, and can be stopped or
killed at any line; who has answered is not asked again. There is no quorum: who does not answer is named.
Nothing that the sites make is asked for, and none of them remembers it. What follows from the answers is
left to `server/forecast.py`.
"""

import time
from collections.abc import Iterable
from typing import Literal

from server.clone import under_free_name
from server.desk import Desk
from server.launch import START_MODEL
from server.records import (
    RehearsalClosed,
    RehearsalOpened,
    StudyFailed,
    StudyFinished,
    StudyPaused,
    StudyStopped,
    reason_of,
)
from server.requests import PauseAsked, StopAsked
from server.rounds import Ask, Phase, Round
from server.stage import StageRun
from server.study_folder import StudyState
from shared.address import Stage
from shared.clock import utc_now
from shared.errors import DiskFull, LinkError, StaleEpoch, StudyError, WardroundError
from shared.remarks import remark, trouble
from shared.study import Study
from shared.wire import Close, Message, Rehearse

SUFFIX = "-rehearsal"
ABSENCE_S = 60.0  # a site that is not connected holds up nobody for longer
CLOSE_PATIENCE_S, CLOSE_ABSENCE_S = 15.0, 1.0


def rehearsal_of(study: Study, *, taken: set[str]) -> Study:
    """The study to launch for a rehearsal: the same, under a name of its own; `taken` are names in use.

    Raises:
        StudyError: it trains privately, and what a site says in a rehearsal is not private.
    """
    if study.privacy is not None:
        raise StudyError(
            f"{study.name} trains privately, so it cannot be rehearsed: a site's codes and times follow from its data.",
            remedy="Rehearse a copy without [privacy] on images that need not be protected, or launch it as it is.",
        )
    return under_free_name(study, SUFFIX, taken=taken)


class Rehearsal:
    """One rehearsal under one owner.

    Args:
        desk: its parts.
    """

    def __init__(self, desk: Desk) -> None:
        assert desk.rehearsal is not None
        self._desk = desk
        self._terms = desk.rehearsal
        self._start = desk.folder.path / START_MODEL

    def run(self) -> None:
        """Take the rehearsal to its end, whatever that is; raises as `Conductor.run`."""
        desk = self._desk
        try:
            self._ask()
        except StopAsked:
            desk.write(StudyStopped(reason="the coordinator asked to stop"))
            self._end("stopped", self._silent())
            self._move(StudyState.STOPPED, reason="The coordinator asked to stop.")
        except PauseAsked:
            desk.write(StudyPaused())
            self._move(StudyState.PAUSED, reason="The coordinator asked to pause.")
        except (StaleEpoch, LinkError, DiskFull):
            raise
        except WardroundError as error:
            desk.write(StudyFailed(reason=reason_of(error)))
            self._end("failed", self._silent())
            self._move(StudyState.FAILED, reason=error.what, remedy=error.remedy)
            desk.say(trouble(error))
        else:
            self._move(StudyState.FINISHED)
            self._start.unlink()
            answered = len(desk.journal.history.rehearsed)
            desk.say(remark("{study} is over; {counted} sites answered.", study=desk.study.name, counted=answered))

    def _ask(self) -> None:
        """Ask the sites that have not answered yet, and write down which still have not."""
        desk, history = self._desk, self._desk.journal.history
        assert history.started is not None
        model = history.started.start_digest
        if isinstance(history.ended, StudyFinished):  # only its end was cut short
            return
        desk.write(RehearsalOpened(epoch=desk.owner.epoch, deadline_s=self._terms.deadline_s))
        state = self._seats(Stage.REHEARSE, self._silent(), self._terms.deadline_s, absence_s=ABSENCE_S)

        def question(ask: Ask) -> Message:
            return Rehearse(
                address=desk.address(Stage.REHEARSE, 0, ask.attempt),
                study=desk.study,
                tensors=desk.tensors,
                model_digest=model,
                payload_bytes=self._start.stat().st_size,
                survey=self._terms.survey,
                sent_at=time.time(),
            )

        closing = StageRun(desk, state, question=question, payload=self._start, model_digest=model).run()
        self._end("finished", {*closing.late, *closing.absent})
        desk.write(RehearsalClosed(missing=dict(sorted((self._removed() | closing.missing).items()))))
        desk.write(StudyFinished(model_digest=model))

    def _end(self, reason: Literal["finished", "stopped", "failed"], sites: Iterable[str]) -> None:
        """Tell sites that may still be at work that nobody waits any more."""
        desk = self._desk
        state = self._seats(Stage.CLOSE, sites, CLOSE_PATIENCE_S, absence_s=CLOSE_ABSENCE_S)

        def question(ask: Ask) -> Message:
            return Close(address=desk.address(Stage.CLOSE, 0, ask.attempt), reason=reason)

        StageRun(desk, state, question=question).run()

    def _silent(self) -> set[str]:
        """Sites that have not answered."""
        return set(self._desk.cohort) - self._desk.journal.history.rehearsed.keys()

    def _removed(self) -> dict[str, str]:
        """Sites that were to be asked, have not answered, and were off the roster when this process began."""
        history = self._desk.journal.history
        assert history.started is not None
        gone = set(history.started.cohort) - set(self._desk.cohort) - history.rehearsed.keys()
        return dict.fromkeys(gone, Phase.REMOVED.value)

    def _seats(self, stage: Stage, sites: Iterable[str], deadline_s: float, *, absence_s: float) -> Round:
        return Round(
            stage=stage,
            number=0,
            cohort=sites,
            quorum=0,
            opened_at=time.monotonic(),
            deadline_s=deadline_s,
            absence_s=absence_s,
        )

    def _move(self, state: StudyState, *, reason: str | None = None, remedy: str | None = None) -> None:
        with self._desk.owner.guard():
            self._desk.folder.move(state, now=utc_now(), reason=reason, remedy=remedy)
