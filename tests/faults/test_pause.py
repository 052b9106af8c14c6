"""A paused study outlives its server, lets others run, and goes on to the very same model."""

import pytest
from live_federation import PATIENCE_S, CalmStudy, LiveFederation, answer, wardround

from server.study_folder import StudyFolder, StudyState


def types(federation: LiveFederation, folder: StudyFolder) -> list[str]:
    return [entry.type for entry in federation.journal(folder)]


def paused(federation: LiveFederation, name: str) -> StudyFolder:
    """A study that is paused after its first round, or a later one."""
    folder = federation.launch(name)
    federation.reached(folder, commits=1)
    answer("study", "pause", name, "-f", federation.federation)
    federation.until(lambda: folder.standing().state is not StudyState.RUNNING, "the pause")
    assert folder.standing().state is StudyState.PAUSED
    return folder


def restart(federation: LiveFederation) -> None:
    federation.stop("server")
    federation.serve()
    online = ("waiting",)
    federation.wait_for(
        lambda: all(federation.site_state(name) in online for name in federation.sites),
        patience_s=PATIENCE_S,
        what="the sites are back",
    )


@pytest.mark.slow
def test_a_pause_survives_the_server_and_loses_nothing(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder = paused(federation, "paused")
    said = answer("study", "status", "paused", "-f", federation.federation)
    assert [wait["why"] for wait in said["waits"]] == ["the coordinator paused it"]
    assert types(federation, folder)[-2:] == ["study_paused", "head"]
    restart(federation)
    assert folder.standing().state is StudyState.PAUSED
    assert federation.run_study("meanwhile") == calm_study.digest
    assert all(federation.ledger(site, "study_closed", "paused") == [] for site in federation.sites)
    answer("study", "resume", "paused", "-f", federation.federation)
    assert federation.finished(folder) == calm_study.digest
    assert types(federation, folder).count("epoch_claimed") == 2
    assert federation.journal_verdict(folder).ok


@pytest.mark.slow
def test_a_paused_study_that_is_stopped_is_closed_at_its_sites(
    federation: LiveFederation, calm_study: CalmStudy
) -> None:
    folder = paused(federation, "given-up")
    answer("study", "stop", "given-up", "-f", federation.federation)
    federation.until(lambda: folder.standing().state is StudyState.STOPPED, "the stop")
    for site in federation.sites:  # whom the server awaits for some seconds
        federation.until(lambda site=site: federation.ledger(site, "study_closed", "given-up"), f"{site} closes it")
        assert len(federation.ledger(site, "study_closed", "given-up")) == 1
    assert wardround("study", "pause", "given-up", "-f", federation.federation).exit_code == 7


def test_studies_take_turns(federation: LiveFederation, calm_study: CalmStudy) -> None:
    """Two at once: the second does not wait for the end of the first, and both become what one alone becomes."""
    long, short = federation.launch("long", rounds=12), federation.launch("short")
    assert federation.finished(short) == calm_study.digest
    assert federation.finished(long)
    opened = federation.journal(short)[0].time
    assert opened < federation.journal(long)[-1].time
    assert federation.commits(long)[2].model_digest == calm_study.digest
