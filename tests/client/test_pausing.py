"""A site that its IT has paused finishes what is in hand, begins nothing, and goes on when it is resumed."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from live_federation import LiveFederation, answer, wardround
from lone_site import START, LoneSite

from client.pausing import FILE_NAME, Pause, find_pause, pause, paused_s
from client.stopped import agent_stopped
from shared.canonical import digest
from shared.errors import WireCode


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def say(site: LoneSite, *words: str) -> dict[str, Any]:
    """Beside the agent, whose lock this is."""
    with agent_stopped(site.folder):
        return answer("site", *words, "--config", site.folder / "site.toml")


def test_what_is_in_hand_is_finished_and_nothing_is_begun_until_the_site_is_resumed(site: LoneSite) -> None:
    site.open()
    site.tell(site.coordinator.work(1, slot=0))
    assert say(site, "pause", "--by", "Ada", "--reason", "clinic")["new"]
    site.finish()
    site.tell(site.coordinator.grant(1))
    assert [said.type for said in site.answers] == ["opened", "ready", "uploaded"]  # finished and sent, though paused
    second = site.coordinator.work(2, previous_digest=digest(START))
    site.start()  # the pause outlives the agent
    site.tell(second)
    site.tell(second)
    assert site.refused() == [WireCode.PAUSED] * 2 and not site.hands.jobs
    assert [line for line in site.said if "paused" in line] == [
        "The study lungs waits, because this site is paused. To go on: wardround site resume "
        f"--config {site.folder / 'site.toml'}"
    ]
    assert say(site, "resume", "--by", "Bo")["resumed"]
    site.tell(second)
    site.finish()
    assert site.answers[-1].type == "ready"
    (paused,), (resumed,) = site.entries("site_paused"), site.entries("site_resumed")
    assert (paused["by"], paused["reason"], resumed["by"]) == ("Ada", "clinic", "Bo")
    assert paused["since"] == resumed["since"] < resumed["resumed"]


def test_a_paused_site_opens_nothing_and_closes_what_is_open(site: LoneSite) -> None:
    site.open()
    say(site, "pause", "--by", "Ada")
    site.tell(site.coordinator.open(attempt=2))
    assert site.refused() == [WireCode.PAUSED]
    site.tell(site.coordinator.close(0))
    assert site.answers[-1].type == "closed"


def test_a_pause_that_cannot_be_read_is_one(site: LoneSite) -> None:
    (site.folder / FILE_NAME).write_text("{")
    site.tell(site.coordinator.open())
    assert site.refused() == [WireCode.PAUSED]
    assert say(site, "resume", "--by", "Ada")["resumed"] and find_pause(site.folder) is None


def test_to_pause_or_resume_twice_changes_nothing(site: LoneSite) -> None:
    first = say(site, "pause", "--by", "Ada")
    again = say(site, "pause", "--by", "Bo")
    assert (again["new"], again["by"], again["since"]) == (False, "Ada", first["since"])
    assert say(site, "resume", "--by", "Bo")["resumed"]
    assert not say(site, "resume", "--by", "Bo")["resumed"]
    site.start()
    site.open()
    assert (len(site.entries("site_paused")), len(site.entries("site_resumed"))) == (1, 1)


def test_for_how_long_a_site_has_been_paused(tmp_path: Path) -> None:
    assert paused_s(tmp_path, now="2026-01-02T03:04:05Z") == 0
    pause(tmp_path, Pause(by="Ada", since="2026-01-02T03:04:05Z"))
    assert paused_s(tmp_path, now="2026-01-03T03:04:05Z") == 86_400


def test_both_consoles_say_that_a_site_is_paused(federation: LiveFederation) -> None:
    live, config = federation, federation.sites["site-2"] / "site.toml"
    answer("site", "pause", "--config", config, "--by", "Ada", "--reason", "the clinic")
    try:
        live.until(lambda: live.site_state("site-2") == "paused", "the agent says that it is paused")
        shown = wardround("site", "status", "--config", config).stdout
        assert "by Ada: the clinic" in shown and max(map(len, shown.splitlines())) <= 80
        study = live.launch("held-up", rounds=1, steps=2, quorum=3)
        live.until(lambda: _waits(live), "the study waits")
        assert _waits(live)[0]["why"] == "site-2 is paused by its IT"
        shown = wardround("study", "status", "held-up", "-f", live.federation).stdout
        assert "paused by its IT" in shown and max(map(len, shown.splitlines())) <= 80
    finally:
        answer("site", "resume", "--config", config, "--by", "Ada")
    live.finished(study)
    assert [commit.counted for commit in live.commits(study)] == [("site-1", "site-2", "site-3")]


def _waits(live: LiveFederation) -> list[dict[str, str]]:
    found = answer("study", "status", "held-up", "-f", live.federation)["waits"]
    return [wait for wait in found if "paused" in wait["why"]]
