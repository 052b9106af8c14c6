"""Room in the image cache, by `[disk]` of site.toml: what has not been used for longest goes first.

1. What an open study uses stays, whatever the limits say.
2. Entries that were not used for `cache_days` go.
3. Of the others the one that was used last the longest ago goes, until the new entry fits below `cache_gb_at_most`.
4. Where it cannot fit, because open studies use the room, nothing goes and the study is refused (`over_quota`).

Called under the cache's lock (`client/imaging/cache.py`): before an entry is made, and by `client/retention.py`.
"""

import contextlib
import shutil
from collections.abc import Callable, Set
from pathlib import Path

from client.cache_uses import entries, last_use, note_use, users
from client.disk_settings import DiskSettings
from shared.disks import bytes_under
from shared.errors import Refusal, WireCode

_GB, _DAY_S = 1_000_000_000, 86_400


class CacheRoom:
    """One site's cache, as far as it is given to a study.

    Args:
        cache: its folder.
        limits: what the site allows.
        user: the digest of the study; None of one that is only tried, which leaves no note.
        running: the digests of the studies that are open.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        cache: Path,
        limits: DiskSettings,
        *,
        user: str | None,
        running: Callable[[], Set[str]],
        clock: Callable[[], float],
    ) -> None:
        self._cache, self._limits, self._user = cache, limits, user
        self._running, self._clock = running, clock

    def make(self, needed: int) -> None:
        """Make room for so many bytes.

        Raises:
            Refusal: `OVER_QUOTA`.
        """
        running = self._running()
        held = {entry: bytes_under(entry) for entry in entries(self._cache)}
        idle = sorted((entry for entry in held if not users(entry) & running), key=last_use)
        limit = self._limits.cache_gb_at_most
        if limit is not None and sum(held.values()) - sum(held[one] for one in idle) + needed > limit * _GB:
            raise Refusal(WireCode.OVER_QUOTA)
        for entry in idle:
            full = limit is not None and sum(held.values()) + needed > limit * _GB
            if full or self._is_old(entry):
                shutil.rmtree(entry)
                del held[entry]

    def sweep(self) -> int:
        """Remove what rule 2 says, and nothing else; returns the bytes that are free again."""
        running, freed = self._running(), 0
        for entry in entries(self._cache):
            with contextlib.suppress(OSError):  # a disk that refuses keeps it
                if self._is_old(entry) and not users(entry) & running:
                    freed += _removed(entry)
        return freed

    def note_use(self, key: str) -> None:
        """The study uses the entry of this name now."""
        if self._user is not None:
            note_use(self._cache / key, self._user)

    def _is_old(self, entry: Path) -> bool:
        days = self._limits.cache_days
        return days is not None and self._clock() - last_use(entry) > days * _DAY_S


def _removed(entry: Path) -> int:
    """Bytes that are free again."""
    held = bytes_under(entry)
    shutil.rmtree(entry, ignore_errors=True)
    return held - bytes_under(entry)
