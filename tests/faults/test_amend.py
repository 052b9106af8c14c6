"""An amended study becomes what it would have become had it been launched so."""

from live_federation import CalmStudy, LiveFederation, answer, wardround

from server.journal import read_history
from server.study_folder import StudyState


def test_a_study_gets_another_round_while_it_runs(federation: LiveFederation, calm_study: CalmStudy) -> None:
    folder, where = federation.launch("amended", rounds=2), ("-f", federation.federation)
    federation.reached(folder, commits=1)
    answer("study", "pause", "amended", *where)
    federation.until(lambda: folder.standing().state is StudyState.PAUSED, "the pause")
    launched = folder.study().digest()
    said = answer("study", "amend", "amended", "--rounds", 3, *where)
    assert (said["number"], said["rounds"]) == (1, 3)
    answer("study", "resume", "amended", *where)
    assert federation.finished(folder) == calm_study.digest
    history = read_history(folder.journal)
    assert history.amended is not None
    assert (history.amended.rounds, history.study_digest) == (3, folder.study().digest())
    assert federation.journal_verdict(folder).ok
    for site in federation.sites:
        first, *_, last = federation.ledger(site, "contract", "amended")
        assert (first["study_digest"], last["original_digest"]) == (launched, launched)
    assert wardround("study", "amend", "amended", "--rounds", 9, *where).exit_code == 7  # it is finished
