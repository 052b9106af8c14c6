"""What the operator's own program and webhook hear of trouble: `[notify]` of site.toml, such as a mail or a chat.

They hear a code, the study, the round and the policy's line, and nothing else: no count of patients, no value of a
study, nothing of an update. All of it goes on beside the agent, one at a time, and for half a minute at most; the
program's output and the webhook's answer go nowhere. That it fails is said on the console, without the address, and
changes nothing. The same news of the same study is told once in an hour, and of much news at once what does not fit is
left out until it comes again, so that whoever asks again and again fills no mailbox.
"""

import contextlib
import os
import signal
import ssl
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping

from client.notify_settings import NotifySettings
from shared.errors import Refusal, WireCode
from shared.passphrase import without_passphrase
from shared.remarks import remark

DOOR = frozenset({WireCode.CONTRACT, WireCode.CONTRACT_EXPIRED})  # where a key is named the policy refuses
TROUBLE = frozenset(  # of the site itself, which somebody there has to end
    {
        *(WireCode.WORKER_CRASHED, WireCode.DEVICE, WireCode.OUT_OF_MEMORY, WireCode.NO_DATA, WireCode.INTERNAL),
        *(WireCode.DISK_FULL, WireCode.OVER_QUOTA, WireCode.STATE_LOST, WireCode.SOFTWARE_CHANGED),
        *(WireCode.OVER_BUDGET, WireCode.BUDGET_STALE, WireCode.WITHDRAWN_DAMAGED, WireCode.FOREIGN_HEAD),
    }
)
NOBODY = "unknown"  # of news that no study brought
RUNS_S = 30.0
ENDS_S = 5.0
AGAIN_S = 3600.0
MOST_WAITING = 16
LOOK_EVERY_S = 0.5
_NOT_TOLD = "The address of notify.webhook could not be told: {why}."
_ANSWERED = "The address of notify.webhook answered with {why}."
_NOT_STARTED = "The command of notify.command did not start: {why}."


class Alarm:
    """Tells one site's operator.

    Args:
        settings: the program and its arguments, as they are, and the address; neither tells nobody.
        site: the site's name.
        line: the policy's line of a key.
        say: prints a line on the site's console; called from another thread.
        clock: seconds, from any beginning.
        runs_s: how long the command may take, and the webhook.
    """

    def __init__(
        self,
        settings: NotifySettings,
        *,
        site: str,
        line: Callable[[str], str],
        say: Callable[[str], None],
        clock: Callable[[], float],
        runs_s: float = RUNS_S,
    ) -> None:
        self._command, self._webhook = list(settings.command), settings.webhook
        self._site, self._line = site, line
        self._say, self._clock, self._runs_s = say, clock, runs_s
        self._told: dict[tuple[str, str, str], float] = {}
        self._lock = threading.Lock()
        self._waiting: deque[Mapping[str, str]] = deque()
        self._runner: threading.Thread | None = None

    def ring(self, refusal: Refusal, *, study: str, number: int) -> None:
        """Tell the operator of a refusal, if it is the door's or the policy's, or of trouble here; returns at once.

        Args:
            refusal: what for.
            study: the study's name.
            number: the round.
        """
        code, rule = refusal.wire_code, refusal.rule
        if rule is not None or code in DOOR or code in TROUBLE:
            self.tell(code.value, study=study, number=number, rule=rule or "")

    def tell(self, code: str, *, study: str = NOBODY, number: int = 0, rule: str = "") -> None:
        """Tell the operator something; returns at once.

        Args:
            code: what.
            study: the study's name, if it came up in one.
            number: the round.
            rule: the key of the policy, if that refuses.
        """
        if not (self._command or self._webhook) or not self._is_news((code, study, rule)):
            return
        line = self._line(rule) if rule else ""
        said = {"site": self._site, "code": code, "study": study, "round": str(number), "line": line}
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                return
            self._waiting.append(said)
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
            if self._command:
                self._run({f"WARDROUND_{name.upper()}": text for name, text in said.items()})
            if self._webhook and self._runs_s:
                self._post(self._webhook, said)

    def _post(self, webhook: str, said: Mapping[str, str]) -> None:
        import httpx  # a few MB, which an agent without a webhook does without

        try:
            answer = httpx.post(webhook, json=dict(said), timeout=self._runs_s, verify=ssl.create_default_context())
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            self._say(
                remark(
                    "The address of notify.webhook could not be told: {why}.", level="warning", why=type(error).__name__
                )
            )
        else:
            if not answer.is_success:
                self._say(
                    remark(
                        "The address of notify.webhook answered with {why}.", level="warning", why=answer.status_code
                    )
                )

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
            self._say(remark(_NOT_STARTED, level="warning", why=type(error).__name__))
            return
        if (code := self._wait(child)) is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            self._say(remark("The command of notify.command took too long and was ended.", level="warning"))
        elif code:
            self._say(remark("The command of notify.command ended with {why}.", level="warning", why=code))

    def _wait(self, child: subprocess.Popen[bytes]) -> int | None:
        """The exit code; None if its time is over, or nobody wants to know any more."""
        began = self._clock()
        while self._clock() - began < self._runs_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return child.wait(LOOK_EVERY_S)
        return child.poll()
