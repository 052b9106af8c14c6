"""The operator's own command, run when the site says no: `on_refusal` of the policy, such as a mail or a webhook.

It hears a code, the study, the round and the policy's line, in its environment and nowhere else: no count of patients,
no value of a study, nothing of an update. It runs beside the agent, one at a time, and for half a minute at most; its
output goes nowhere. That it fails is said on the console, and changes nothing. The same news of the same study is told
once in an hour, and of much news at once what does not fit is left out until it comes again, so that whoever asks
again and again fills no mailbox.
"""

import contextlib
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from shared.errors import Refusal, WireCode
from shared.passphrase import without_passphrase

DOOR = frozenset({WireCode.CONTRACT, WireCode.CONTRACT_EXPIRED})  # where a key is named the policy refuses
RUNS_S = 30.0
ENDS_S = 5.0
AGAIN_S = 3600.0
MOST_WAITING = 16
LOOK_EVERY_S = 0.5


class Alarm:
    """Runs one site's command.

    Args:
        command: the program and its arguments, as they are; none tells nobody.
        site: the site's name.
        line: the policy's line of a key.
        say: prints a line on the site's console; called from another thread.
        clock: seconds, from any beginning.
        runs_s: how long the command may take.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        site: str,
        line: Callable[[str], str],
        say: Callable[[str], None],
        clock: Callable[[], float],
        runs_s: float = RUNS_S,
    ) -> None:
        self._command, self._site, self._line = list(command), site, line
        self._say, self._clock, self._runs_s = say, clock, runs_s
        self._told: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Mapping[str, str]] = deque()
        self._runner: threading.Thread | None = None

    def ring(self, refusal: Refusal, *, study: str, number: int) -> None:
        """Tell the operator of a refusal, if it is the door's or the policy's; returns at once.

        Args:
            refusal: what for.
            study: the study's name.
            number: the round.
        """
        if not self._command or (refusal.rule is None and refusal.wire_code not in DOOR):
            return
        code, rule = refusal.wire_code.value, refusal.rule or ""
        if not self._is_news((code, study, rule)):
            return
        said = {"SITE": self._site, "CODE": code, "STUDY": study, "ROUND": str(number)}
        said["LINE"] = self._line(rule) if rule else ""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return
            self._waiting.append({f"WARDROUND_{name}": text for name, text in said.items()})
            self._told[code, study, rule] = self._clock()
            if self._runner is None:
                self._runner = threading.Thread(target=self._tell_all, name="alarm", daemon=True)
                self._runner.start()

    def rest(self, timeout_s: float = ENDS_S) -> None:
        """Wait until everything was told, or for so long; then nothing more is, and what runs is ended."""
        if runner := self._runner:
            runner.join(timeout_s)
            with self._lock:
                self._waiting.clear()
            self._runs_s = 0.0
            runner.join(timeout_s)

    def _is_news(self, news: tuple[str, str, str]) -> bool:
        now = self._clock()
        self._told = {known: at for known, at in self._told.items() if now - at < AGAIN_S}
        return news not in self._told

    def _tell_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._runner = None
                    return
                said = self._waiting.popleft()
            self._run(said)

    def _run(self, said: Mapping[str, str]) -> None:
        nowhere = subprocess.DEVNULL
        try:
            child = subprocess.Popen(
                self._command,
                stdin=nowhere,
                stdout=nowhere,
                stderr=nowhere,
                env={**without_passphrase(os.environ), **said},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            self._say(f"The command of policy.on_refusal did not start: {type(error).__name__}.")
            return
        if (code := self._wait(child)) is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            self._say("The command of policy.on_refusal took too long and was ended.")
        elif code:
            self._say(f"The command of policy.on_refusal ended with {code}.")

    def _wait(self, child: subprocess.Popen[bytes]) -> int | None:
        """The exit code; None if its time is over, or nobody wants to know any more."""
        began = self._clock()
        while self._clock() - began < self._runs_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(LOOK_EVERY_S)
        return child.poll()
