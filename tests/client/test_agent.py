"""The agent's loop: it survives the line, hands on what is kept, and stops with its work in the spool."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lone_site import START, UPDATE, LoneSite, opened, trained

from client.agent import Agent, site_folder
from client.jobs import Job, OpenJob, Place, ProbeDone, ProbeJob, RoundJob
from shared.errors import LinkError, ResourceError


class Busy:
    """Does each job as soon as the agent listens."""

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
                self._hands.done(trained(self._site.coordinator.study, job.model_digest, job.out))

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
        thread.join(20)
        assert not thread.is_alive()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
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


def test_the_folder_of_a_site_is_that_of_its_configuration(tmp_path: Path) -> None:
    assert site_folder(tmp_path / "site.toml") == tmp_path
