"""One machine of the drill: its commands, its service, and a power cut.

Who sits before it types commands; a service is started as a service manager starts it. Everything that runs
here carries the machine's mark in its environment, by which it is found again, whatever namespace it went to.
"""

import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from drill.broken import Broken
from drill.network import Network

MARK = "WARDROUND_DRILL"
PATIENCE_S = 480.0  # of a machine that does much else beside
GRACE_S = 20.0
FINGERPRINT = re.compile(r"(?:[0-9a-f]{4} )+[0-9a-f]{4}")


class Machine:
    """A machine on the drill's network.

    Args:
        name: `server`, or a hospital's.
        net: the network that it is on.
        home: the folder in which its person types; made if it is not there.
        environment: of everything that runs here.

    Attributes:
        typed: the commands that were given here, in order.
    """

    def __init__(self, name: str, net: Network, *, home: Path, environment: Mapping[str, str]) -> None:
        self.name, self.home, self.typed = name, home, list[str]()
        self._net, self._service = net, list[subprocess.Popen[bytes]]()
        home.mkdir(parents=True, exist_ok=True)
        (home / "tmp").mkdir(exist_ok=True)
        self._environment = {**environment, MARK: net.namespace(name), "HOME": str(home), "TMPDIR": str(home / "tmp")}

    def type(self, words: Sequence[str], *, yes_to: str | None = None) -> str:
        """Give one command and read its answer.

        Args:
            words: the command.
            yes_to: a fingerprint; the command asks whether it is the right one, and hears yes if it shows this one.

        Raises:
            Broken: the command failed, hung, or showed another fingerprint.
        """
        self.typed.append(" ".join(words))
        return self.ask(words, yes_to=yes_to)

    def ask(self, words: Sequence[str], *, yes_to: str | None = None) -> str:
        """Run a command as `type` does, which is the drill's own and no person's."""
        keyboard, screen = pty.openpty()
        try:
            running = self._begin(words, stdin=screen, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            if yes_to is not None:
                self._answer(running, keyboard, expected=yes_to)
            out, err = running.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            running.kill()
            raise Broken(f"{self._named(words)} took more than {PATIENCE_S:.0f} s.") from None
        finally:
            os.close(keyboard)
            os.close(screen)
        if running.returncode:
            said = " ".join(err.decode(errors="replace").split())
            raise Broken(f"{self._named(words)} ended with {running.returncode}: {said[-300:]}")
        return out.decode()

    def start(self, words: Sequence[str]) -> None:
        """Start a service, as a person types it; its words go to its log."""
        self.typed.append(" ".join(words))
        with self.log.open("ab") as log:
            self._service.append(self._begin(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    @property
    def log(self) -> Path:
        """What the services here said."""
        return self.home / "service.log"

    def processes(self) -> list[psutil.Process]:
        """Everything that runs here."""
        return list(marked(self._net.namespace(self.name)))

    def cut_power(self) -> int:
        """End everything here at once, with no word to it; how many processes that were."""
        return end(self._net.namespace(self.name), reap=self._reap)

    def programs(self) -> list[Path]:
        """The programs of everything that runs here, as they were called."""
        return [Path(line[0]) for process in self.processes() if (line := _command_line(process))]

    def ask_to_end(self) -> None:
        """Send the services what a service manager sends."""
        for service in self._service:
            service.send_signal(signal.SIGTERM)

    def shut_down(self) -> None:
        """Wait until the services that were asked to end have ended, then insist."""
        deadline = time.monotonic() + GRACE_S
        while self.processes() and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.1)
        self.cut_power()

    def _begin(self, words: Sequence[str], **streams: Any) -> subprocess.Popen[bytes]:
        command, settings = self._net.inside(self.name, words), self._environment
        return subprocess.Popen(command, cwd=self.home, env=settings, start_new_session=True, **streams)

    def _answer(self, running: subprocess.Popen[bytes], keyboard: int, *, expected: str) -> None:
        """Read until the question, compare, and say yes; a person who sees another fingerprint would hang up."""
        assert running.stderr is not None
        seen = ""
        while "?" not in seen and (more := os.read(running.stderr.fileno(), 4096)):
            seen += more.decode(errors="replace")
        shown = FINGERPRINT.search(seen)
        if shown is None or shown[0] != expected:
            running.kill()
            raise Broken(f"A command at {self.name} did not show the fingerprint {expected}.")
        os.write(keyboard, b"y\n")

    def _named(self, words: Sequence[str]) -> str:
        return f"`{' '.join(words)[:120]}` at {self.name}"

    def _reap(self) -> None:
        for service in list(self._service):
            if service.poll() is not None:
                self._service.remove(service)


def end(begins: str, *, reap: Callable[[], None] = lambda: None) -> int:
    """End the processes whose mark begins so, and what they start meanwhile; how many that were.

    Args:
        begins: see `marked`.
        reap: called in turn, for those that are children of the drill.
    """
    ended = set()
    while running := list(marked(begins)):
        for process in running:
            with suppress(psutil.Error):
                process.kill()
                ended.add(process.pid)
        reap()
    return len(ended)


def _command_line(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def marked(begins: str) -> Iterator[psutil.Process]:
    """Living processes whose mark begins so."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            mark = process.environ().get(MARK, "")
            if mark.startswith(begins) and process.status() != psutil.STATUS_ZOMBIE:
                yield process
