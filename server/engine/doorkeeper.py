"""Tells the coordinator who is turned away at the door, and what the studies' processes say.

Every turn it looks at four things, says what is new on the console, and decides nothing:

1. the SuperLink's log: refused callers, in words of `server/engine/refusals.py`;
2. the SuperLink's list of nodes: a place that is held longer than an agent of ours ever asks for was
   taken by a stranger, which Flower 1.39 grants to anyone while the site itself is away;
3. what ends: the server's certificate, the authority, sites' places (`server/membership/endings.py`);
4. what the studies' processes say, remark by remark; the traceback of a crash stays in the study's `log`.

The same news about the same site is said once a minute, with how often it came.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from server.engine.refusals import KnownKey, Refused, recognise
from server.engine.tail import Tail
from server.federation import load_federation
from server.membership.endings import endings
from server.study_folder import REMARKS_FILE
from shared.certificates import ends_at, warned_at
from shared.command_line import typed
from shared.errors import LinkError
from shared.identity import RosterEntry
from shared.remarks import from_line, remark

TALKATIVE = {"GRPC_VERBOSITY": "INFO"}  # else gRPC keeps failed handshakes to itself
QUIET_S = 60.0
PLACES_EVERY_S = 3.0  # below an agent's heartbeat, which takes its place back
LONGEST_HOLD_S = 120.0  # our agents ask for 20 s, a stock SuperNode for 60
ENDS_EVERY_S = 21_600.0  # four times a day, so that none of the warnings is late
LONGEST_LINE = 500


class Places(Protocol):
    """Of a SuperLink, what is looked at."""

    def held_until(self) -> Mapping[str, float]:
        """Until when each transport key's place is held without another word from its holder."""


class Doorkeeper:
    """Watches one federation's door.

    Args:
        folder: the federation's folder.
        places: its SuperLink.
        say: prints one line on the coordinator's console.
        clock: Unix time in seconds.
    """

    def __init__(self, folder: Path, places: Places, *, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._folder, self._places, self._say, self._clock = folder, places, say, clock
        self._superlink = Tail(folder / "run" / "superlink.log")
        self._studies = {log: Tail(log) for log in self._study_logs()}
        self._keys: Mapping[str, KnownKey] = {}
        self._said: dict[tuple[str, str], tuple[float, int]] = {}
        self._places_at = self._ends_at = 0.0
        self._warned: dict[str, int | None] = {}

    def knows(self, entries: tuple[RosterEntry, ...]) -> None:
        """Take the roster's keys."""
        now = self._clock()
        self._keys = {entry.transport_key: KnownKey(entry.site, entry.valid(now)) for entry in entries}

    def check_certificate(self) -> None:
        """Refuse a certificate that no site would accept; warn of all that ends, 30, 7 and 1 days ahead.

        Raises:
            LinkError: the server's certificate has ended.
        """
        now = self._ends_at = self._clock()
        try:
            federation = load_federation(self._folder)
            expired = ends_at(federation.server_certificate.read_bytes()) <= now
        except (OSError, ValueError):
            return  # the SuperLink's start names a file that cannot be used
        if expired:
            raise LinkError(
                "The server's certificate has expired, so every site refuses it.",
                remedy=f"Run `{typed('federation', 'renew', self._folder)}`; a server that runs shows the new one.",
            )
        for ending in endings(federation):
            warning, days = ending.warning(now), warned_at(ending.at - now)
            if warning is not None and self._warned.get(ending.name) != days:
                self._say(warning)
            self._warned[ending.name] = days

    def turn(self) -> None:
        """Look once, and say what is new.

        Raises:
            LinkError: the SuperLink is gone, or the server's certificate has ended.
        """
        now = self._clock()
        for line in self._superlink.lines():
            if (refused := recognise(line, self._keys)) is not None:
                self._tell(refused, now)
        self._pass_on()
        if now - self._places_at >= PLACES_EVERY_S:
            self._places_at = now
            self._look_at_places(now)
        if now - self._ends_at >= ENDS_EVERY_S:
            self.check_certificate()

    def _tell(self, news: Refused, now: float) -> None:
        at, before = self._said.get((news.kind, news.site), (-QUIET_S, 0))
        if now - at < QUIET_S:
            self._said[news.kind, news.site] = (at, before + 1)
            return
        self._said[news.kind, news.site] = (now, 0)
        again = f" ({before} more times since this was last said.)" if before else ""
        about = {"code": news.kind.replace(" ", "_")} | ({"site": news.site} if news.site else {})
        self._say(remark("{news}{again}", level="warning", news=news, again=again, **about))

    def _look_at_places(self, now: float) -> None:
        for key, until in self._places.held_until().items():
            known = self._keys.get(key)
            if known is not None and until - now > LONGEST_HOLD_S:
                self._tell(_stranger(known.site, minutes=round((until - now) / 60)), now)

    def _pass_on(self) -> None:
        for log in self._study_logs():
            if log not in self._studies:
                self._studies[log] = Tail(log, from_start=True)
            for line in self._studies[log].lines():
                if (said := from_line(line)) is not None:
                    study, text = log.parent.name, printable(said)
                    whose = "" if text.startswith(f"Study {study}") else f"Study {study}: "
                    self._say(said.rephrased(f"{whose}{text}", study=study))

    def _study_logs(self) -> list[Path]:
        return sorted((self._folder / "studies").glob(f"[!.]*/{REMARKS_FILE}"))


def printable(text: str) -> str:
    """A line that cannot steer a terminal, of bounded length."""
    return "".join(c if c.isprintable() else "?" for c in text[:LONGEST_LINE])


def _stranger(site: str, *, minutes: int) -> Refused:
    return Refused(
        "stranger",
        site,
        f"A stranger holds the place of {site} for {minutes} more minutes; no message can be read with it.",
        f"Have {site} start its agent, which takes the place back; if it is refused, restart this server.",
    )
