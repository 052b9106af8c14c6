"""The work in hand at a site: jobs of its worker, oldest first, each with the message that awaits its result.

The first one is with the worker. Which messages bring work, and what is answered, `client/answering.py`
decides.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from client.jobs import Ending, Progress, Question, RoundJob, may_end
from client.privacy.spending import charge
from client.privacy.withdrawn import Withdrawn
from client.site import Site
from client.waiting_entries import note_entries
from shared.errors import Refusal, WireCode, refusing_disk_full
from shared.remarks import remark
from shared.study import Study
from shared.wire import Open, Rehearse, Work

if TYPE_CHECKING:
    from client.link import Parcel

RESTART = "Restart it: the studies are then opened anew, under the software of today."


@dataclass
class Task:
    """A job of the worker and the message that waits for its result.

    `progress` is the worker's last sign of life, and `signed` when it came (RFC 3339, UTC). `late` is the
    message that brought the job, if the job came too late for it and answers a later one.
    """

    parcel: "Parcel"
    message: Open | Work | Rehearse
    job: Question
    workplace: Path | None = None
    tries: int = 1
    late: Work | None = None
    progress: Progress | None = None
    signed: str | None = None

    def ended_by(self, event: Ending) -> bool:
        """Whether this word of the worker is an end of the job."""
        return may_end(self.job, event)

    @property
    def round(self) -> int:
        """The round that the job is of, whichever one it will answer."""
        return (self.late or self.message).address.round


class Workload:
    """The tasks in hand of one site."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._tasks: deque[Task] = deque()
        self._withdrawn = Withdrawn(site.folder)

    @property
    def current(self) -> Task | None:
        """The task that the worker is on."""
        return self._tasks[0] if self._tasks else None

    @property
    def workplaces(self) -> set[Path]:
        """Where the worker writes, or will."""
        return {task.workplace for task in self._tasks if task.workplace is not None}

    @property
    def opening(self) -> list[Study]:
        """The studies whose opening is in hand."""
        return [task.message.study for task in self._tasks if isinstance(task.message, Open)]

    def add(self, task: Task) -> None:
        """Put a task in the queue, its cost written down; the worker begins if it is the only one.

        Raises:
            DiskFull: the cost cannot be written down; the task was not taken.
            Refusal: it cannot be afforded, who has withdrawn is not known, or no worker runs the agent's code any more;
                the task was not taken.
        """
        if self._site.worker.code_differs:
            raise Refusal(WireCode.SOFTWARE_CHANGED, remedy=RESTART)
        note_entries(self._site.folder, self._site.ledger, time=self._site.now())
        self._withdrawn.note(self._site.ledger, time=self._site.now())
        charge(self._site, task.job, task.message)
        self._tasks.append(task)
        if len(self._tasks) == 1:
            self.go_on()

    def repeat(self) -> None:
        """Give the current task to a new worker, its cost written down once more.

        Raises:
            Refusal: it cannot be written down or afforded, so the worker must not begin.
        """
        task = self._tasks[0]
        with refusing_disk_full():
            charge(self._site, task.job, task.message)
        task.tries += 1
        self._site.worker.submit(task.job)

    def done(self) -> Task:
        """Take the current task out; call `go_on` once it is answered."""
        return self._tasks.popleft()

    def go_on(self) -> None:
        """Give the worker the next task, if there is one."""
        if self._tasks:
            self._site.worker.submit(self._tasks[0].job)

    def find(self, wanted: Callable[[Task], bool]) -> Task | None:
        """The first task in hand that is wanted, if there is one."""
        return next(filter(wanted, self._tasks), None)

    def take_over(self, parcel: "Parcel", message: Open | Work | Rehearse) -> bool:
        """Let a repeated message wait for work that is already in hand; the older message is dropped."""
        for task in self._tasks:
            if _asks_the_same(message, task.message):
                if task.parcel.id != parcel.id:
                    self._site.link.drop(task.parcel)
                task.parcel, task.message = parcel, message
                return True
        return False

    def carry_over(self, parcel: "Parcel", message: Work) -> bool:
        """Let training that is in hand for an earlier round of the study answer this one instead; whether there is any.

        Said once on the site's console, however many rounds pass.
        """
        found = False
        for task in self._tasks:
            mine = task.message.address.study == message.address.study and isinstance(task.job, RoundJob)
            if mine and isinstance(task.message, Work) and task.message.address.round < message.address.round:
                self._site.link.drop(task.parcel)
                if task.late is None:
                    task.late = task.message
                    self._site.say(_goes_on(task.late))
                task.parcel, task.message, found = parcel, message, True
        return found

    def abandon(self, over: Callable[[Task], bool]) -> None:
        """Nobody waits for these tasks any more; a worker that is on one ends, and the next task begins."""
        first = self.current
        for task in filter(over, self._tasks):
            self._site.link.drop(task.parcel)
        self._tasks = deque(task for task in self._tasks if not over(task))
        if first is not self.current:
            self._site.worker.end()
            self.go_on()


def _goes_on(work: Work) -> str:
    place = work.address
    return remark(
        "Round {round} of {study} closed without this site; its work goes on and counts when it is done.",
        round=place.round,
        study=place.study,
    )


def _asks_the_same(new: Open | Work | Rehearse, old: Open | Work | Rehearse) -> bool:
    if isinstance(new, Open) or isinstance(old, Open):
        return isinstance(new, Open) and isinstance(old, Open) and (new.study, new.tensors) == (old.study, old.tensors)
    one, other = new.address, old.address
    same = (one.study, one.round, new.model_digest) == (other.study, other.round, old.model_digest)
    return same and type(new) is type(old)
