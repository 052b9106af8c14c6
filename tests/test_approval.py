"""A study waits at a live site until a person there approves it, and then finishes; all by commands."""

import tomllib
from pathlib import Path

from live_federation import LiveFederation, answer, wardround

from client.settings import load_settings


def restart_with(live: LiveFederation, site: str, config: Path, text: str) -> None:
    live.stop(site)
    config.write_text(text)
    live.start_site(site)
    live.until(lambda: live.site_state(site) == "waiting", f"{site} is back")


def test_a_study_waits_for_a_person_and_then_finishes(federation: LiveFederation) -> None:
    live, site = federation, "site-3"
    config = live.sites[site] / "site.toml"
    before = config.read_text()
    told_of = live.sites[site] / "told"
    tell = f"""["/bin/sh", "-c", 'echo "$WARDROUND_CODE $WARDROUND_STUDY $WARDROUND_LINE" >> "$0"', "{told_of}"]"""
    restart_with(live, site, config, f'{before}\n[policy]\nstudies = "ask"\n[notify]\ncommand = {tell}\n')
    assert load_settings(config).policy.studies == "ask" and "policy" not in tomllib.loads(before)
    try:
        study = live.launch("asks-first", rounds=1, steps=2, quorum=3)
        live.until(lambda: waits(live), "the study waits")
        (wait,) = waits(live)
        assert wait["why"] == "asks-first waits for the approval of site-3"
        assert "wardround site approve asks-first" in wait["do"]
        shown = wardround("study", "status", "asks-first", "-f", live.federation).stdout
        assert "waits for approval" in shown and "approval of site-3" in " ".join(shown.split())
        said = answer("site", "status", "--config", config)
        assert [asked["study"] for asked in said["awaits_approval"]] == ["asks-first"]
        live.until(told_of.exists, "the site's operator is told")
        seen = ("--yes", "--contract", said["awaits_approval"][0]["contract"])
        answer("site", "approve", "asks-first", "--config", config, "--by", "Dr. Adams", *seen)
        live.finished(study)
        assert [commit.counted for commit in live.commits(study)] == [("site-1", "site-2", "site-3")]
        (agreed,) = live.ledger(site, "contract", "asks-first")
        (approved,) = live.ledger(site, "approval", "asks-first")
        assert (agreed["person"], agreed["cohort"]) == ("Dr. Adams", approved["cohort"])
        assert agreed["floors"]["patients_at_least"] == 5 and agreed["expires"] == approved["expires"]
        assert {said["contract"] for said in live.ledger(site, "release", "asks-first")} == {None, agreed["contract"]}
        assert told_of.read_text() == "awaits_approval asks-first policy.studies = ask\n"
        told = " ".join(wardround("study", "log", "asks-first", "-f", live.federation).stdout.split())
        assert "site-3 says not yet" in told
    finally:
        restart_with(live, site, config, before)


def waits(live: LiveFederation) -> list[dict[str, str]]:
    found = answer("study", "status", "asks-first", "-f", live.federation)["waits"]
    return [wait for wait in found if "approval" in wait["why"]]
