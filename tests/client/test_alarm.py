"""The operator's command hears of refusals: what it is told, and that nothing waits for it."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from lone_site import UPDATE, LoneSite, a_study
from pydantic import ValidationError

from client.alarm import AGAIN_S, MOST_WAITING, Alarm
from client.notify_settings import NotifySettings
from client.policy import Policy
from client.settings import load_settings, write_settings
from shared.errors import Refusal, WireCode
from shared.loopback import free_port

WRITE = """\
import os, sys
said = [f"{name}={text}" for name, text in sorted(os.environ.items()) if name.startswith("WARDROUND_")]
print("never seen", flush=True)
with open(sys.argv[1], "a") as file:
    file.write("|".join(said) + chr(10))
"""
BEHIND_A_GATE = """\
: > "$1.begun"
while [ ! -e "$1.gate" ]; do sleep 0.01; done
echo "$WARDROUND_STUDY" >> "$1"
"""
NO = Refusal(WireCode.POLICY, rule="rounds_at_most")


def writing(file: Path) -> tuple[str, ...]:
    return sys.executable, "-c", WRITE, str(file)


def wait_for(there: Callable[[], bool]) -> None:
    while not there():
        time.sleep(0.01)


class Ringing:
    """An alarm, what it said on the console, and its clock."""

    def __init__(self, *command: str, webhook: str | None = None, **how: Any) -> None:
        self.said: list[str] = []
        self.ahead_s = 0.0
        self.alarm = Alarm(
            NotifySettings(command=command, webhook=webhook),
            site="north",
            line=Policy(rounds_at_most=9).line,
            say=self.said.append,
            clock=self._time,
            **how,
        )

    def _time(self) -> float:
        return time.monotonic() + self.ahead_s

    def ring(self, refusal: Refusal = NO, *, study: str = "lungs", number: int = 3) -> None:
        self.alarm.ring(refusal, study=study, number=number)

    def rest(self) -> None:
        self.alarm.rest(60.0)


def test_what_the_command_is_told(tmp_path: Path) -> None:
    ringing = Ringing(*writing(tmp_path / "told"))
    ringing.ring()
    ringing.ring(Refusal(WireCode.CONTRACT, remedy="Nothing was released: 17 patients."), number=4)
    ringing.ring(Refusal(WireCode.OVER_BUDGET, rule="lifetime_epsilon"), number=0)
    ringing.rest()
    assert (tmp_path / "told").read_text().splitlines() == [
        "WARDROUND_CODE=policy|WARDROUND_LINE=policy.rounds_at_most = 9|WARDROUND_ROUND=3|WARDROUND_SITE=north"
        "|WARDROUND_STUDY=lungs",
        "WARDROUND_CODE=contract|WARDROUND_LINE=|WARDROUND_ROUND=4|WARDROUND_SITE=north|WARDROUND_STUDY=lungs",
        "WARDROUND_CODE=over_budget|WARDROUND_LINE=policy.budget.lifetime_epsilon = None|WARDROUND_ROUND=0"
        "|WARDROUND_SITE=north|WARDROUND_STUDY=lungs",
    ]
    assert ringing.said == []


def test_what_neither_door_nor_policy_refuses_rings_nobody(tmp_path: Path) -> None:
    ringing = Ringing(*writing(tmp_path / "told"))
    ringing.ring(Refusal(WireCode.STALE_EPOCH))
    Ringing().ring()  # no command
    ringing.rest()
    assert not (tmp_path / "told").exists()


def test_the_same_news_is_told_once_in_an_hour(tmp_path: Path) -> None:
    ringing = Ringing(*writing(tmp_path / "told"))
    for number in range(1, 20):
        ringing.ring(number=number)
    ringing.ring(study="hearts")
    ringing.rest()
    assert len((tmp_path / "told").read_text().splitlines()) == 2
    ringing = Ringing(*writing(tmp_path / "told"))
    ringing.ring()
    ringing.ahead_s = AGAIN_S
    ringing.ring()
    ringing.rest()
    assert len((tmp_path / "told").read_text().splitlines()) == 4


def test_a_command_without_an_end_is_ended() -> None:
    ringing = Ringing(sys.executable, "-c", "import time; time.sleep(600)", runs_s=0.0)
    ringing.ring()
    ringing.rest()
    assert ringing.said == ["The command of notify.command took too long and was ended."]


def test_of_much_news_at_once_what_does_not_fit_is_told_when_it_comes_again(tmp_path: Path) -> None:
    told = tmp_path / "told"
    ringing = Ringing("/bin/sh", "-c", BEHIND_A_GATE, "sh", str(told), runs_s=600.0)
    ringing.ring(study="first")
    wait_for(told.with_name("told.begun").exists)
    studies = [f"study-{number}" for number in range(2 * MOST_WAITING)]
    for study in studies:
        ringing.ring(study=study)
    told.with_name("told.gate").touch()
    wait_for(lambda: told.exists() and studies[MOST_WAITING - 1] in told.read_text().split())
    assert told.read_text().split() == ["first", *studies[:MOST_WAITING]]
    for study in studies:
        ringing.ring(study=study)
    ringing.rest()
    assert told.read_text().split() == ["first", *studies]


def test_stopping_ends_what_runs(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    ringing = Ringing("/bin/sh", "-c", ': > "$0"; exec sleep 600', str(begun))
    ringing.ring()
    ringing.ring(study="hearts")
    wait_for(begun.exists)
    ringing.alarm.rest(0.0)
    ringing.rest()
    assert ringing.said == ["The command of notify.command took too long and was ended."]


@pytest.mark.parametrize(
    ("command", "word"),
    [(("/nowhere/tell-it",), "did not start: FileNotFoundError"), ((sys.executable, "-c", "exit(3)"), "ended with 3")],
)
def test_a_command_that_fails_is_said_and_no_more(command: tuple[str, ...], word: str) -> None:
    ringing = Ringing(*command)
    ringing.ring()
    ringing.rest()
    assert [word in line for line in ringing.said] == [True]


@pytest.mark.parametrize("command", ["mail it", ["mail", ""], [7], ["a\0b"]])
def test_what_is_no_command(command: Any) -> None:
    with pytest.raises(ValidationError):
        NotifySettings(command=command)


# ------------------------------------------------------------ a webhook


class Hook(BaseHTTPRequestHandler):
    """Keeps what it is sent, and answers as it was told to."""

    heard: ClassVar[list[dict[str, str]]] = []
    status = 200

    def do_POST(self) -> None:
        self.heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Hook.heard, Hook.status = [], 200
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/a-secret"
        server.shutdown()
        thread.join()


def test_what_a_webhook_is_sent(hook: str) -> None:
    ringing = Ringing(webhook=hook)
    ringing.ring()
    ringing.ring()
    ringing.ring(Refusal(WireCode.DISK_FULL), number=4)
    ringing.alarm.tell("paused_long")
    ringing.rest()
    where = {"site": "north", "study": "lungs"}
    assert Hook.heard == [
        where | {"code": "policy", "round": "3", "line": "policy.rounds_at_most = 9"},
        where | {"code": "disk_full", "round": "4", "line": ""},
        {"site": "north", "study": "unknown", "code": "paused_long", "round": "0", "line": ""},
    ]
    assert ringing.said == []


def test_a_webhook_that_fails_is_said_without_its_address(hook: str) -> None:
    Hook.status = 500
    ringing = Ringing(webhook=hook)
    ringing.ring()
    ringing.rest()
    away = Ringing(webhook=f"http://127.0.0.1:{free_port()}/a-secret")
    away.ring()
    away.rest()
    assert ringing.said == ["The address of notify.webhook answered with 500."]
    assert away.said == ["The address of notify.webhook could not be told: ConnectError."]


@pytest.mark.parametrize("address", ["http://chat.example/hook", "https://user:word@chat.example/", "ftp://127.0.0.1/"])
def test_what_is_no_webhook(address: str) -> None:
    with pytest.raises(ValidationError):
        NotifySettings(webhook=address)


# ------------------------------------------------------------ at the site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def notify(site: LoneSite, **settings: Any) -> None:
    changed = load_settings(site.folder / "site.toml").model_copy(update={"notify": NotifySettings(**settings)})
    (site.folder / "site.toml").unlink()
    write_settings(site.folder / "site.toml", changed)
    site.start()


def told(site: LoneSite, **policy: Any) -> list[str]:
    """What the command heard: code, study, round and line of each."""
    site.site.alarm.rest(60.0)
    file = site.folder / "told"
    lines = file.read_text().splitlines() if file.exists() else []
    heard = [dict(part.split("=", 1) for part in line.split("|")) for line in lines]
    return [" ".join(said[f"WARDROUND_{name}"] for name in ("CODE", "STUDY", "ROUND", "LINE")) for said in heard]


def test_policy_door_and_waiting_are_told(site: LoneSite) -> None:
    notify(site, command=writing(site.folder / "told"))
    site.set_policy(patients_at_least=6)
    site.open()
    assert told(site) == ["too_few_patients lungs 0 policy.patients_at_least = 6"]
    site.set_policy()
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish(UPDATE[:-1])
    assert told(site)[1:] == ["contract lungs 1 "]
    site.set_policy(studies="ask")
    site.coordinator.study = a_study("hearts")
    site.tell(site.coordinator.open())
    site.tell(site.coordinator.open(attempt=2))
    assert told(site)[2:] == ["awaits_approval hearts 0 policy.studies = ask"]


def test_a_worker_that_crashes_twice_on_the_same_work_is_told(site: LoneSite) -> None:
    notify(site, command=writing(site.folder / "told"))
    site.open()
    site.tell(site.coordinator.work(1))
    site.answering.worker_died()
    assert told(site) == []
    site.answering.worker_died()
    assert told(site) == ["worker_crashed lungs 1 "]
