"""SIGHUP has a running site read its site.toml anew, and keeps what it has if that cannot be used."""

import os
import signal
from pathlib import Path

import psutil
from live_federation import LiveFederation, answer


def said(live: LiveFederation, sentence: str) -> int:
    return (live.root / "logs" / "site-3.log").read_text().count(sentence)


def test_a_running_site_reads_its_settings_anew(federation: LiveFederation) -> None:
    live = federation
    config, pid = live.sites["site-3"] / "site.toml", live.processes["site-3"].pid
    before = config.read_text()
    live.until(lambda: live.site_state("site-3") == "waiting", "the site is idle")
    try:
        _replace(config, "[site]\nnme = 3\n")
        os.kill(pid, signal.SIGHUP)
        live.until(lambda: said(live, "what was read before stays") == 1, "the site says what is wrong")
        _replace(config, before + "\n[policy]\nrounds_at_most = 1\n")
        os.kill(pid, signal.SIGHUP)
        live.until(lambda: said(live, "site.toml is read anew.") == 1, "the site reads it anew")
        live.until(lambda: live.site_state("site-3") == "waiting", "the site is back")
        study = live.launch("beyond", rounds=2, steps=2, quorum=2)
        live.finished(study)
        assert [commit.counted for commit in live.commits(study)] == [("site-1", "site-2")] * 2
        live.until(lambda: "rounds_at_most = 1" in " ".join(_refusals(live)), "the site says why it refuses")
        assert psutil.pid_exists(pid)
    finally:
        _replace(config, before)
        os.kill(pid, signal.SIGHUP)
    live.until(lambda: said(live, "site.toml is read anew.") == 2, "the site reads the first one again")
    live.until(lambda: live.site_state("site-3") == "waiting", "the site is back")
    assert answer("site", "status", "--config", config)["pid"] == pid


def _replace(config: Path, text: str) -> None:
    config.write_text(text)


def _refusals(live: LiveFederation) -> list[str]:
    lines = (live.root / "logs" / "site-3.log").read_text().splitlines()
    return [line for line in lines if "Refused open" in line]
