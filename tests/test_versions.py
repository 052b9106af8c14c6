"""A site of the protocol before the server's, in a real federation: it takes part, and says what it does not know."""

from pathlib import Path

import pytest
from live_federation import LiveFederation, wardround
from other_versions import OLDER, console, held_to_the_oldest, running

from server.study_folder import find_study
from shared.version import VERSION


@pytest.mark.slow
def test_a_site_of_the_protocol_before_counts_and_says_what_it_does_not_know(
    federation: LiveFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live, site, server = federation, next(iter(federation.sites)), console(federation, "server")
    with running(live, site, held_to_the_oldest(tmp_path), monkeypatch) as own:
        own.await_line("Connected to the federation; waiting for work.")
        live.run_study("with-an-older-site", rounds=1, steps=2, quorum=3)
        commits = live.commits(find_study(live.federation, "with-an-older-site"))
        assert [set(commit.counted) for commit in commits] == [set(live.sites)]

        said = wardround(*("study", "rehearse", live.root / "with-an-older-site.toml", "-f", live.federation, "--json"))
        assert "another_version" in said.stdout
        own.await_line(
            f"A message of protocol 2 has come from Wardround {VERSION}; "
            f"this is Wardround {OLDER}, which reads 1 to 1. "
            "Upgrade Wardround on this side, as docs/upgrade.md says."
        )
        server.await_line(
            f"Study with-an-older-site-rehearsal: {site} does not count in round 0: "
            f"It has Wardround {OLDER}, which does not know what was asked. Upgrade as docs/upgrade.md says."
        )
