"""Enrolment while studies run: a site comes, all take a new authority under way, and one is cut off mid-round."""

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from live_federation import LiveFederation, answer, images

from server.study_folder import StudyFolder, StudyState

pytestmark = pytest.mark.slow


@pytest.fixture
def guest(federation: LiveFederation, tmp_path: Path) -> Iterator[Path]:
    """The folder of a fourth site, which enrols by the commands that people type, and starts."""
    folder = tmp_path / "guest"
    invited = answer("federation", "invite", federation.federation, "guest")["invitation"]
    data = images(tmp_path / "guest.npz", seed=9)
    joined = answer("site", "join", invited, folder, "--kind", "npz", "--data", data)
    before = federation.superlink_pid()
    answer("federation", "admit", federation.federation, joined["request"], "--fingerprint", joined["fingerprint"])
    federation.start("guest", ["site", "start", "--config", joined["config"]])
    federation.until(lambda: state(folder) == "waiting", "the guest is let in by a server that runs")
    assert federation.superlink_pid() == before
    yield folder
    psutil.Process(federation.processes["guest"].pid).resume()
    federation.stop("guest")


def state(folder: Path) -> str:
    try:
        return str(json.loads((folder / "status.json").read_bytes())["state"])
    except (OSError, ValueError):
        return "not started"


def authorities(folder: Path) -> int:
    """How many the site trusts."""
    return str(json.loads((folder / "admission.json").read_bytes())["authorities"]).count("BEGIN")


def shown(live: LiveFederation) -> str:
    """The certificate that the server shows now; empty if nobody answers."""
    try:
        return ssl.get_server_certificate(("127.0.0.1", live.port), timeout=5)
    except OSError:
        return ""


def stalled(live: LiveFederation, study: StudyFolder) -> int:
    """Wait until a round waits for somebody; how many are committed."""
    looks = [-1, len(live.commits(study))]
    while looks[-2] != looks[-1]:
        time.sleep(2)
        looks.append(len(live.commits(study)))
    return looks[-1]


def lost(live: LiveFederation, study: StudyFolder, site: str) -> list[str]:
    return [e.data["cause"] for e in live.journal(study) if e.type == "site_lost" and e.data["site"] == site]


def test_a_new_authority_and_a_revoked_site_in_the_midst_of_a_study(federation: LiveFederation, guest: Path) -> None:
    live, sites = federation, [*federation.sites.values(), guest]
    study = live.launch("renewed", rounds=2000, steps=2, quorum=3)

    def all_taken() -> bool:
        return all(row["taken"] is not False for row in answer("federation", "status", live.federation)["endings"])

    live.reached(study, commits=1)
    live.until(all_taken, "each site has taken its admission")
    assert answer("federation", "renew", live.federation, "--authority")["step"] == "coming"
    live.until(all_taken, "each site trusts both authorities")
    before = shown(live)
    assert answer("federation", "renew", live.federation, "--authority")["step"] == "going"
    live.until(lambda: shown(live) not in (before, ""), "the server shows its new certificate")
    live.until(all_taken, "each site is certified by the new authority")
    assert answer("federation", "renew", live.federation, "--authority")["step"] == "gone"
    live.until(lambda: [authorities(folder) for folder in sites] == [1, 1, 1, 1], "each site trusts the new one alone")

    done = len(live.commits(study))
    live.reached(study, commits=done + 1)
    assert set(live.commits(study)[-1].counted) == {*live.sites, "guest"}
    agent = psutil.Process(live.processes["guest"].pid)
    agent.suspend()
    done = stalled(live, study)
    answer("federation", "revoke", live.federation, "guest")
    live.until(lambda: "removed" in lost(live, study, "guest"), "the round goes on without it")
    live.reached(study, commits=done + 2)
    agent.resume()
    live.until(lambda: state(guest) == "offline", "it is cut off")
    assert set(live.commits(study)[-1].counted) == set(live.sites)
    assert study.standing().state is StudyState.RUNNING
    answer("study", "stop", study.name, "-f", live.federation)
    live.until(lambda: study.standing().state is StudyState.STOPPED, "the study is stopped")
