"""What a service tells systemd: that it is ready, that it ends, and that it is not stuck (sd_notify(3)).

Where no service manager has asked, nothing is told. The watchdog is fed by a thread of its own, but only while the
work moves: a loop that stands still is what `WatchdogSec` is for, and systemd then starts the process again.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable

_SOCKET, _PATIENCE = "NOTIFY_SOCKET", "WATCHDOG_USEC"


def tell(*words: str) -> None:
    """Tell the service manager, such as ``READY=1``; silence where there is none, or it has gone."""
    address = os.environ.get(_SOCKET, "")
    if not address.startswith(("/", "@")):
        return
    place = "\0" + address[1:] if address[0] == "@" else address  # an abstract name, unix(7)
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.connect(place)
        line.sendall("\n".join(words).encode())


def feed_watchdog(moved: Callable[[], object]) -> None:
    """From now on, tell the watchdog that all is well whenever `moved` gives something else than at the last look.

    Args:
        moved: what changes while the work goes on, such as a count of turns; asked four times as often as wanted.
    """
    patience = os.environ.get(_PATIENCE, "")
    if not patience.isdecimal() or int(patience) == 0:
        return
    pause_s = int(patience) / 1e6 / 4

    def feed() -> None:
        last: object = None
        while True:
            if (seen := moved()) != last:
                tell("WATCHDOG=1")
                last = seen
            threading.Event().wait(pause_s)

    threading.Thread(target=feed, name="watchdog", daemon=True).start()
