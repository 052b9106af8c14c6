"""From a query to a folder: exam by exam, in lanes side by side.

Decides the order (exams, series of an exam, instances of a series, those that are not here yet) and how patiently a
PACS that broke off is asked again. A pull that ends goes on where it was when it is started again: what is on the
shelf is not asked for twice.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from client.pacs.account import Account
from client.pacs.archive import Archive, Away
from client.pacs.inflow import Ended, Inflow
from client.pacs.query import Keys, LeftOut, Level, Query, Series, is_uid
from client.pacs.shelf import Shelf

BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)  # a PACS that is restarted is back within them
T = TypeVar("T")


class Pull:
    """One pull.

    Args:
        archive: the PACS.
        query: what of it.
        shelf: where to; open.
        inflow: the way there.
        account: what is counted.
        dry: only find.
        back_off_s: after how many seconds a PACS that broke off is asked again, each time without progress.
    """

    def __init__(
        self,
        archive: Archive,
        query: Query,
        *,
        shelf: Shelf,
        inflow: Inflow,
        account: Account,
        dry: bool = False,
        back_off_s: Sequence[float] = BACK_OFF_S,
    ) -> None:
        self._archive = archive
        self._query = query
        self._shelf = shelf
        self._inflow = inflow
        self._account = account
        self._dry = dry
        self._back_off_s = back_off_s
        self._lock = threading.Lock()

    def exams(self) -> list[str]:
        """The exams that the query wants, by UID. The first contact: nothing is tried twice.

        Raises:
            LinkError: the PACS cannot be asked.
            Refusal: the site's hours are over, of a pull that is not dry.
        """
        found: dict[str, LeftOut | None] = {}
        for keys in self._query.for_exams():
            if not self._dry:
                self._inflow.insist_on_hours()
            for answer in self._archive.find(Level.EXAM, keys):
                found[answer.get("StudyInstanceUID", "")] = self._query.leaves_exam(answer)
        self._account.left_out.update(reason.value for reason in found.values() if reason)
        wanted = [exam for exam, reason in found.items() if reason is None]
        self._account.exams = len(wanted)
        return wanted

    def run(self, exams: Sequence[str], *, lanes: int, done: Callable[[], None] = lambda: None) -> None:
        """Pull these exams; the first error of a lane ends all.

        Raises:
            LinkError: the PACS went away for good, or refuses.
            Refusal: the site's hours are over.
            DiskFull: there is no room.
        """
        waiting = iter(exams)
        with ThreadPoolExecutor(lanes, thread_name_prefix="lane") as pool:
            working = [pool.submit(self._lane, waiting, done) for _ in range(lanes)]
            try:
                for lane in working:
                    lane.result()
            finally:
                self._inflow.end()
        errors = (lane.exception() for lane in working)
        if error := next((error for error in errors if error), None):
            raise error
        account = self._account
        account.others = max(0, self._shelf.count() - account.pulled - account.already_there)

    def _lane(self, waiting: Iterator[str], done: Callable[[], None]) -> None:
        try:
            with suppress(Ended):
                while (exam := self._next(waiting)) is not None:
                    self._exam(exam)
                    done()
        except BaseException:
            self._inflow.end()
            raise

    def _next(self, waiting: Iterator[str]) -> str | None:
        with self._lock:
            return next(waiting, None)

    def _exam(self, exam: str) -> None:
        if not self._dry:
            self._inflow.turn()
        answers = self._found(Level.SERIES, self._query.of_exam(exam))
        left = [self._query.leaves_series(answer) for answer in answers]
        with self._lock:
            self._account.left_out.update(reason.value for reason in left if reason)
            self._account.series += left.count(None)
        for answer, reason in zip(answers, left, strict=True):
            if reason is None:
                self._series(Series(exam, answer["SeriesInstanceUID"]))

    def _series(self, series: Series) -> None:
        answers = {a.get("SOPInstanceUID", ""): a for a in self._found(Level.INSTANCE, self._query.of_series(series))}
        wanted = {uid: answer for uid, answer in answers.items() if is_uid(uid)}
        missing = {uid: answer for uid, answer in wanted.items() if not self._shelf.has(uid)}
        with self._lock:
            if len(answers) > len(wanted):
                self._account.left_out[LeftOut.BAD_UID.value] += len(answers) - len(wanted)
            self._account.instances += len(wanted)
            self._account.already_there += len(wanted) - len(missing)
        if missing and not self._dry:
            self._fetch(series, missing)

    def _fetch(self, series: Series, missing: dict[str, Keys]) -> None:
        """Let them come, asking again for the rest; one at which a PACS that is there breaks off each time fails."""
        waits = iter(self._back_off_s)
        while missing:
            before = len(missing)
            try:
                self._archive.fetch(series, list(missing.values()), self._inflow)
            except Away:
                missing = {u: a for u, a in missing.items() if not (self._shelf.has(u) or u in self._account.failed)}
                waits = iter(self._back_off_s) if len(missing) < before else waits
                if missing and not self._rested(waits):
                    list(self._archive.find(Level.INSTANCE, self._query.of_series(series)))  # or it is away for good
                    self._inflow.fail(first := next(iter(missing)), "broke_off")
                    del missing[first]
                    waits = iter(self._back_off_s)
            else:
                return

    def _found(self, level: Level, keys: Keys) -> list[Keys]:
        waits = iter(self._back_off_s)
        while True:
            try:
                return list(self._archive.find(level, keys))
            except Away:
                if not self._rested(waits):
                    raise

    def _rested(self, waits: Iterator[float]) -> bool:
        """Wait once more; False when there is no more patience."""
        wait = next(waits, None)
        if wait is not None:
            self._inflow.rest(wait)
        return wait is not None
