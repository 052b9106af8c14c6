"""What goes with time, by `[disk]` of site.toml: looked at when the agent starts and once a day, with no work in hand.

1. Of a study that has been closed here for `spool_days`, what is large in the spool: updates, models, and the layers
   and residuals that the site kept for its next round. The records of the rounds that were answered stay, so that
   none is answered twice; so does the model seen last, as `client/seen_model.py` says.
2. Decoded images that no open study uses, and that were not used for `cache_days` (`client/work/cache_room.py`).

An open study loses nothing, however old it is, and neither do the ledger, the budget and what an auditor needs. What
is not to wait for days goes with `wardround site purge`.
"""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from client.disk_settings import DiskSettings
from client.spool import RECORDS
from client.study_store import StudyStore, open_digests
from client.work.cache_room import CacheRoom
from shared.disks import bytes_under
from shared.durable import try_lock
from shared.remarks import remark

if TYPE_CHECKING:
    from client.site import Site

DAY_S = 86_400.0
_SEEN = "seen-"  # as client/seen_model.py names them


class Went(NamedTuple):
    """Bytes that are free again."""

    spool: int
    cache: int


class Retention:
    """Looks after one site's disk while its agent runs.

    Args:
        site: its parts.
        idle: whether no work is in hand.
        clock: seconds, from any beginning.
    """

    def __init__(self, site: "Site", *, idle: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._site, self._idle, self._clock = site, idle, clock
        self._due = clock()

    def turn(self, now: float) -> None:
        """Look, if a day has passed and the worker has nothing in hand; `now` in Unix seconds."""
        if self._clock() < self._due or not self._idle():
            return
        self._due = self._clock() + DAY_S
        went = sweep(self._site.folder, self._site.settings.disk, self._site.studies, now=now)
        if any(went):
            words = "By [disk] of site.toml {spool:,} bytes of finished work and {cache:,} of decoded images went."
            self._site.say(remark(words, spool=went.spool, cache=went.cache))


def sweep(folder: Path, limits: DiskSettings, studies: StudyStore, *, now: float) -> Went:
    """Remove what has been kept for long enough; a disk that refuses keeps it.

    Args:
        folder: the site's.
        limits: for how long.
        studies: those that the site knows.
        now: Unix seconds.
    """
    freed = 0
    for place in _out_of_date(folder, limits, studies, now=now):
        held = bytes_under(place)
        with contextlib.suppress(OSError):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        freed += held - bytes_under(place)
    return Went(freed, _sweep_cache(folder, limits, now=now))


def standing(folder: Path, limits: DiskSettings) -> dict[str, int | None]:
    """What spool and cache take, in bytes, and after how many days what goes."""
    sizes = {f"{name}_bytes": bytes_under(folder / name) for name in ("spool", "cache")}
    return {**sizes, "spool_days": limits.spool_days, "cache_days": limits.cache_days}


def standing_in_words(found: dict[str, int | None]) -> dict[str, str]:
    """The same for a person."""
    spool = "finished work goes {days} days after its study's end"
    kept = {"spool": spool, "cache": "decoded images go after {days} days without use"}
    return {name: _kept(found, name, words) for name, words in kept.items()}


def _kept(found: dict[str, int | None], name: str, words: str) -> str:
    days = found[f"{name}_days"]
    what = words.format(days=days) if days is not None else "nothing goes by age"
    return f"{(found[f'{name}_bytes'] or 0) / 1e9:.2f} GB; {what}"


def _out_of_date(folder: Path, limits: DiskSettings, studies: StudyStore, *, now: float) -> Iterator[Path]:
    """What is large in the spool, of studies that were closed so long ago."""
    for name in studies.names() if limits.spool_days is not None else ():
        record = studies.find(name)
        since = studies.changed(name)
        if record is None or not record.closed or since is None or now - since < (limits.spool_days or 0) * DAY_S:
            continue
        for place in _inside(folder / "spool" / name):
            if place.suffix == ".partial":
                yield place
            elif place.is_dir():
                yield from (path for path in _inside(place) if path.name not in RECORDS)
            elif not place.name.startswith(_SEEN):
                yield place


def _inside(place: Path) -> list[Path]:
    try:
        return sorted(place.iterdir())
    except OSError:  # it is not there, or cannot be read
        return []


def _sweep_cache(folder: Path, limits: DiskSettings, *, now: float) -> int:
    """Nothing while a worker builds an entry."""
    cache = folder / "cache"
    if limits.cache_days is None or not cache.is_dir() or (lock := try_lock(cache / ".lock")) is None:
        return 0
    with lock:
        running = partial(open_digests, folder / "state")
        return CacheRoom(cache, limits, user=None, running=running, clock=lambda: now).sweep()
