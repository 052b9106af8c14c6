"""What hospital IT types at a running site, and at one that is not."""

import json
from pathlib import Path

import pytest
from live_federation import CalmStudy, LiveFederation, answer, wardround


def test_status_of_a_running_site(federation: LiveFederation, calm_study: CalmStudy) -> None:
    config = federation.sites["site-1"] / "site.toml"
    said = answer("site", "status", "--config", config)
    assert (said["site"], said["state"], said["device"]) == ("site-1", "waiting", "cpu")
    assert said["bytes_up"] > 0
    shown = wardround("site", "status", "--config", config)
    assert "waiting" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_sent_lists_what_left(federation: LiveFederation, calm_study: CalmStudy) -> None:
    config = federation.sites["site-1"] / "site.toml"
    said = answer("site", "sent", "--config", config, "--study", "calm")
    kinds = ["update" if row["update_digest"] else row["kind"] for row in said["releases"]]
    assert kinds == ["opened", "update", "update", "update", "ready", "closed"]
    assert said["bytes"] == sum(row["bytes"] for row in said["releases"])
    shown = wardround("site", "sent", "--config", config, "--study", "calm").stdout
    assert "6 releases" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_sent_of_another_study_is_empty(federation: LiveFederation, calm_study: CalmStudy) -> None:
    config = federation.sites["site-1"] / "site.toml"
    assert answer("site", "sent", "--config", config, "--study", "no-such")["releases"] == []


def test_a_second_agent_on_the_same_folder_is_refused(federation: LiveFederation) -> None:
    done = wardround("site", "start", "--config", federation.sites["site-1"] / "site.toml", "--json")
    assert done.exit_code == 8
    assert "already serves" in json.loads(done.stdout)["error"]["what"]


@pytest.mark.parametrize(("command", "code"), [("status", 8), ("sent", 3), ("start", 3)])
def test_a_folder_without_a_site(tmp_path: Path, command: str, code: int) -> None:
    done = wardround("site", command, "--config", tmp_path / "site.toml", "--json")
    assert done.exit_code == code
    assert json.loads(done.stdout)["error"]["remedy"]
