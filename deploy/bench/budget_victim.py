"""A site's budget in a process that is killed before its n-th durable write: `python -m deploy.bench.budget_victim`.

Each line on standard input names a site's folder and n (0: never). A fork takes the script's steps there and dies by
SIGKILL before its n-th call that moves bytes or names towards the disk; the answer is `killed`, `done` or `failed`,
and how many calls there were if it came to its end. The calls are counted here alone: nothing of the site knows.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploy.bench.budget_script import play

WRITES = ("fsync", "replace", "pwrite", "ftruncate", "unlink")


class Counter:
    """Counts the calls, and kills this process before one of them."""

    def __init__(self, kill_at: int) -> None:
        self._kill_at = kill_at
        self.count = 0

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, counted."""

        def counted(*args: Any, **named: Any) -> Any:
            self.count += 1
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)

        return counted


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        folder, kill_at = line.rsplit(maxsplit=1)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            _die_or_finish(Path(folder), int(kill_at), writer)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        said = os.read(reader, 64).decode()
        os.close(reader)
        print(said or ("killed 0" if os.WIFSIGNALED(status) else "failed 0"), flush=True)


def _die_or_finish(folder: Path, kill_at: int, writer: int) -> None:
    counter = Counter(kill_at)
    for name in WRITES:
        setattr(os, name, counter.before(getattr(os, name)))
    try:
        play(folder)
        os.write(writer, f"done {counter.count}".encode())
    except BaseException:
        traceback.print_exc()
    os._exit(0)


if __name__ == "__main__":
    main()
