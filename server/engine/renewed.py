"""Whether a SuperLink shows what lies in its federation folder, and when it is started with what is new.

Flower 1.39 reads its certificate once. A SuperLink that is started anew interrupts no more than a fallen line
does, but the work of a round may be asked for again; so it waits until

1. no study has a process, or
2. some study has just committed a round, or
3. the certificate that is shown ends within a day.
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from server.federation import Federation
from shared.certificates import DAY_S, ends_at
from shared.durable import write_atomically


class Shown:
    """What the SuperLink of one federation was started with.

    Args:
        federation: as it is when the SuperLink is started.
        clock: Unix seconds.
    """

    def __init__(self, federation: Federation, *, clock: Callable[[], float]) -> None:
        self._certificate, self._clock = federation.server_certificate, clock
        self._at = self._certificate.stat().st_mtime_ns
        self._ends = float("inf")
        with contextlib.suppress(ValueError):  # the SuperLink's start says so
            self._ends = ends_at(self._certificate.read_bytes())
        self._before: Mapping[str, int] | None = None

    def outdated(self, committed: Callable[[], Mapping[str, int]]) -> bool:
        """Whether to start the SuperLink anew now, by the module's rules.

        Args:
            committed: of each study with a process, how many rounds are committed; asked only when it matters.
        """
        try:
            if self._certificate.stat().st_mtime_ns == self._at:
                return False
        except FileNotFoundError:
            return False
        rounds, before = committed(), self._before
        self._before = rounds
        ends_soon = self._ends - self._clock() < DAY_S
        done = before is not None and any(count > before.get(study, count) for study, count in rounds.items())
        return not rounds or done or ends_soon


def trusted_file(federation: Federation) -> Path:
    """A file with all authorities that are trusted now, for the SuperLink and what it starts."""
    path = federation.folder / "run" / "trusted.pem"
    write_atomically(path, federation.trusted().encode())
    return path
