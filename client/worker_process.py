"""The agent's hold on its worker: start, ask, listen, end. Never blocks the agent.

The worker is started when there is work, kept warm between rounds, restarted after a crash, and
ended when idle so that the GPU is free. Its first word is the code that it runs: where that is not the agent's, because
the software was changed under a running agent, what it was asked has failed and it is ended; `code_differs` then, for
as long as the agent runs. What a worker loads from the disk later it does not say.
"""

import contextlib
import os
import selectors
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from client.jobs import Began, Event, Failed, Job, read_event, to_line
from shared.errors import WireCode
from shared.log_file import rotated
from shared.passphrase import without_passphrase

LINE_LIMIT = 4 << 20
GRACE_S = 0.5  # an idle worker ends at once; a busy one has nothing to save, and a newer round waits


class WorkerProcess:
    """One worker at a time for the site in `folder`; its standard error goes to `worker.log`.

    Args:
        folder: the site's folder.
        command: what to start; None for `client.worker` on this folder.
        code: the digest of the code that it must run (`client/software.py`); None takes any.

    Attributes:
        code_differs: whether a worker has said that it runs other code.
    """

    def __init__(self, folder: Path, *, command: Sequence[str] | None = None, code: str | None = None) -> None:
        self._folder = folder
        self._command = command or (sys.executable, "-P", "-m", "client.worker", str(folder))
        self._code, self._began = code, False
        self.code_differs = False
        self._child: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    @property
    def pid(self) -> int | None:
        """Process id of the running worker, if any."""
        return self._child.pid if self._child is not None and self._child.poll() is None else None

    def submit(self, job: Job) -> None:
        """Hand a job over, starting the worker if there is none."""
        if self.pid is None:
            self._start()
        assert self._child is not None and self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a dead worker is seen by `crashed`
            self._child.stdin.write(to_line(job))
            self._child.stdin.flush()

    def listen(self, timeout_s: float) -> list[Event]:
        """Events that arrived within `timeout_s` seconds (0: do not wait).

        A worker that says something else, or does not come to an end, is killed; see `crashed`.
        """
        if self._child is None or self._child.stdout is None:
            return []
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if selector.select(timeout_s):
                self._buffer += os.read(self._child.stdout.fileno(), 1 << 16)
        *lines, self._buffer = self._buffer.split(b"\n")
        with contextlib.suppress(ValidationError):
            if len(self._buffer) <= LINE_LIMIT:
                return self._of_our_code([read_event(line) for line in lines])
        self._child.kill()
        self._child.wait()
        return []

    def crashed(self) -> bool:
        """Whether a started worker has ended by itself."""
        return self._child is not None and self._child.poll() is not None

    def end(self, *, grace_s: float = GRACE_S) -> None:
        """End the worker: close its input, wait, then kill."""
        child, self._child, self._buffer, self._began = self._child, None, b"", False
        if child is None:
            return
        with contextlib.suppress(BrokenPipeError):
            if child.stdin is not None:
                child.stdin.close()
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()

    def _of_our_code(self, events: list[Event]) -> list[Event]:
        """What a worker of the agent's own code says behind its first word; of another one, that it failed."""
        if events and not self._began:
            if self._code is not None and events[0] != Began(code=self._code):
                self.code_differs = True
                self.end(grace_s=0.0)
                return [Failed(code=WireCode.SOFTWARE_CHANGED)]
            self._began = True
        return [event for event in events if not isinstance(event, Began)]

    def _start(self) -> None:
        self.end()
        rotated(log := self._folder / "worker.log")
        with log.open("ab", buffering=0) as errors:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
                start_new_session=True,  # a terminal's Ctrl-C reaches the agent alone, which drains
            )


def _environment() -> dict[str, str]:
    """What the worker may know: no passphrase, and no proxy, whose password could stand in its address."""
    kept = without_passphrase(os.environ)
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")}
