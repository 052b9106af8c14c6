"""The agent's loop: it survives the line, hands on what is kept, and stops with its work in the spool."""

import errno
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from lone_site import START, UPDATE, Hands, LoneSite, opened, trained

from client.agent import Agent
from client.egress import ALTERED
from client.jobs import Job, OpenJob, Place, ProbeDone, ProbeJob, RoundJob
from client.leaving import leave
from client.line.fleet import MessageGone
from client.pausing import Pause, pause
from shared.canonical import digest
from shared.errors import LinkError, ResourceError, TrustError, WireCode

PATIENCE_S = 60.0  # each entry waits for the disk, which others may keep busy


class Busy:
    """Does each job as soon as the agent listens."""

    code_differs = False

    def __init__(self, site: LoneSite) -> None:
        self._site = site
        self._hands = site.hands
        self.pid: int | None = 1
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        match job:
            case ProbeJob():
                place = Place(device="cpu", reason="auto: no GPU", fell_back=True, threads=1)
                self._hands.done(ProbeDone(place=place))
            case OpenJob():
                self._hands.done(opened())
            case RoundJob():
                (job.out / "update.safetensors").write_bytes(UPDATE)
                self._hands.done(trained(self._site.coordinator.study, job.model_digest))

    def listen(self, timeout_s: float) -> list:
        events = self._hands.listen(0)
        if not events:
            time.sleep(0.005)
        return events

    def crashed(self) -> bool:
        return False

    def end(self) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.start(worker=Busy(lone))
    yield lone
    lone.site.ledger.close()


@contextmanager
def running(site: LoneSite) -> Iterator[Agent]:
    agent = Agent(site.site)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent
    finally:
        agent.stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def post(site: LoneSite, *, kept: bool = False) -> None:
    """Two messages wait at the server, or were taken before a crash."""
    for message in (site.coordinator.open(), site.coordinator.work(1)):
        parcel = site.coordinator.parcel(message)
        site.line.payloads[parcel.id] = b"" if parcel.payload_bytes == 0 else START
        if kept:
            site.line.kept[parcel.id] = parcel
        else:
            site.line.waiting.append(parcel)


@pytest.mark.parametrize("kept", [False, True], ids=["pulled", "kept from before a crash"])
def test_messages_are_answered(site: LoneSite, kept: bool) -> None:
    post(site, kept=kept)
    with running(site):
        until(lambda: len(site.line.sent) == 2)
    assert [answer.type for answer in site.answers] == ["opened", "ready"]
    assert site.uploads == [UPDATE]


def test_a_line_that_is_down_at_first_is_waited_for(site: LoneSite) -> None:
    site.line.down = True
    post(site, kept=True)
    with running(site):
        until(lambda: "The line is down. Wait." in site.said)
        site.line.down = False
        until(lambda: len(site.line.sent) == 2)
    assert "The line to the server works again." in site.said
    assert site.said.count("The line is down. Wait.") == 1


def test_a_line_that_breaks_between_connecting_and_reading_ends_nothing(site: LoneSite) -> None:
    whole, tries = site.line.unanswered, []

    def breaks_once() -> list:
        tries.append(1)
        if len(tries) == 1:
            raise LinkError("The line is down.", remedy="Wait.")
        return whole()

    site.line.unanswered = breaks_once  # type: ignore[method-assign]
    post(site, kept=True)
    with running(site):
        until(lambda: len(site.line.sent) == 2)


def test_a_message_withdrawn_while_its_model_comes_does_not_hold_up_the_next(site: LoneSite) -> None:
    whole, tries = site.line.fetch, []

    def gone_at_first(parcel, into, *, limit: int) -> str:
        tries.append(parcel.id)
        if len(tries) == 1:
            raise MessageGone("The server was restarted.", remedy="Nothing.")
        return whole(parcel, into, limit=limit)

    site.line.fetch = gone_at_first  # type: ignore[method-assign]
    post(site)
    again = site.coordinator.parcel(site.coordinator.work(1))
    site.line.payloads[again.id] = START
    site.line.waiting.append(again)
    with running(site):
        until(lambda: len(site.line.sent) == 2)
    assert site.line.dropped == [tries[0]]
    assert site.line.sent[-1][0] == again.id


def test_a_message_whose_model_does_not_come_does_not_hold_up_the_others(site: LoneSite) -> None:
    site.line.waiting.append(site.coordinator.parcel(site.coordinator.open()))
    work, grant = (site.coordinator.parcel(m) for m in (site.coordinator.work(1), site.coordinator.grant(9)))
    site.line.payloads[work.id] = START
    site.line.delayed.add(work.id)
    site.line.waiting.extend([work, grant])
    with running(site):
        until(lambda: len(site.line.sent) == 2)
        assert [answer.type for answer in site.answers] == ["opened", "refused"]
        assert site.line.aside == [work.id]
        site.line.come(work)
        until(lambda: len(site.line.sent) == 3)
    assert site.answers[-1].type == "ready"
    assert site.uploads == [UPDATE]


def test_an_update_that_changed_on_its_way_is_written_down_and_said(site: LoneSite) -> None:
    whole = site.line.send

    def refuses_updates(parcel, released) -> bool:
        if released.payload is not None:
            raise TrustError("An update changed after it was released.", remedy="Look.")
        return whole(parcel, released)

    site.line.send = refuses_updates  # type: ignore[method-assign]
    post(site)
    with running(site):
        until(lambda: site.line.dropped)
    assert site.uploads == []
    assert [entry["rule"] for entry in site.entries("release_refused")] == [ALTERED]
    assert "An update changed after it was released. Look." in site.said


def test_a_full_disk_at_the_line_is_waited_out(site: LoneSite) -> None:
    whole, tries = site.line.send, []

    def full_at_first(parcel, released) -> bool:
        tries.append(1)
        if len(tries) == 1:
            raise OSError(errno.ENOSPC, "no")
        return whole(parcel, released)

    site.line.send = full_at_first  # type: ignore[method-assign]
    post(site)
    with running(site):
        until(lambda: len(site.line.sent) == 2)
    assert "The trouble is over." in site.said


def test_the_status_says_what_it_computes_on_and_that_it_stopped(site: LoneSite) -> None:
    def status() -> dict:
        path = site.folder / "status.json"
        return json.loads(path.read_bytes()) if path.exists() else {}

    with running(site):
        until(lambda: status().get("state") == "waiting")
        assert (status()["device"], status()["fell_back"]) == ("cpu", True)
    assert status()["state"] == "stopped"


def test_two_agents_do_not_share_a_folder(site: LoneSite) -> None:
    with running(site):
        until((site.folder / "status.json").exists)
        with pytest.raises(ResourceError, match="already serves"):
            Agent(site.site).run()


def test_a_head_is_signed_at_the_end(site: LoneSite) -> None:
    with running(site):
        until((site.folder / "status.json").exists)
    assert site.entries("head")


def test_the_agent_of_a_site_that_has_left_tells_each_open_study_and_ends_by_itself(site: LoneSite) -> None:
    post(site)
    with running(site):
        until(lambda: len(site.line.sent) == 2)
        leave(site.folder, Pause(by="Ada", since=site.site.now()))
        parcel = site.coordinator.parcel(site.coordinator.work(2, previous_digest=digest(START)))
        site.line.payloads[parcel.id] = START
        site.line.waiting.append(parcel)
        until(lambda: json.loads((site.folder / "status.json").read_bytes())["state"] == "stopped")
    assert site.refused() == [WireCode.LEFT]
    assert any("has left the federation" in line for line in site.said)


class Held(Busy):
    """Busy, but for a round, which it does when it is let go."""

    def submit(self, job: Job) -> None:
        if isinstance(job, RoundJob):
            self.jobs.append(job)
        else:
            super().submit(job)

    def let_go(self) -> None:
        super().submit(self.jobs[-1])


def test_to_read_its_settings_anew_an_agent_first_finishes_what_is_in_hand(site: LoneSite) -> None:
    hands = Held(site)
    site.start(worker=hands)
    hands._hands = site.hands = Hands()
    post(site)
    with running(site) as agent:
        until(lambda: any(isinstance(job, RoundJob) for job in hands.jobs))
        agent.reload()
        hands.let_go()
        until((site.folder / "status.json").exists)
        until(lambda: json.loads((site.folder / "status.json").read_bytes())["state"] == "stopped")
        assert site.uploads == [UPDATE] and agent.starts_anew
        agent.stop()
        assert not agent.starts_anew


class Counted(Busy):
    """Busy, and counts how often it was ended."""

    ends = 0

    def end(self) -> None:
        self.ends += 1


def test_the_worker_of_a_paused_site_ends_although_it_was_just_at_work(site: LoneSite) -> None:
    hands = Counted(site)
    site.start(worker=hands)
    hands._hands = site.hands = Hands()
    post(site)
    with running(site):
        until(lambda: len(site.line.sent) == 2)
        assert hands.ends == 0
        pause(site.folder, Pause(by="Ada", since=site.site.now()))
        until(lambda: hands.ends)
        until(lambda: json.loads((site.folder / "status.json").read_bytes())["state"] == "paused")


@pytest.mark.parametrize("told", ["reload", "stop"])
def test_systemd_is_told_of_an_end_but_not_of_a_reload(
    site: LoneSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        agent = Agent(site.site)
        getattr(agent, told)()
        agent.run()
        manager.setblocking(False)
        heard = []
        with suppress(BlockingIOError):
            while True:
                heard.append(manager.recv(100))
    assert agent.starts_anew is (told == "reload")
    assert heard == ([b"READY=1"] if told == "reload" else [b"READY=1", b"STOPPING=1"])
