"""The drill: a federation is backed up, lost and restored, and a site that joined before trains on."""

import shutil
from pathlib import Path

import pytest
from live_federation import answer, images
from tiny_federation import queue_study

from client.imaging.settings import DataSettings
from deploy.local import LocalFederation
from server.study_folder import StudyFolder, StudyState

pytestmark = pytest.mark.slow


def finished(live: LocalFederation, study: StudyFolder) -> None:
    ended = (StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED)
    live.wait_for(lambda: study.standing().state in ended, patience_s=180, what=f"the end of {study.name}")
    assert study.standing().state is StudyState.FINISHED, study.standing()


def test_a_site_trains_on_after_the_server_s_disk_was_lost(tmp_path: Path) -> None:
    data = {"ward-a": DataSettings(kind="npz", file=images(tmp_path / "ward-a.npz", patients=40))}
    both: list[str] = []
    for option, text in (("--first", "the first person's own"), ("--second", "the second person's own")):
        (tmp_path / option).write_text(text)
        (tmp_path / option).chmod(0o600)
        both += [option, str(tmp_path / option)]
    with LocalFederation(tmp_path / "live", data, device="cpu") as live:
        live.serve()
        live.start_site("ward-a")
        finished(live, queue_study(live.federation, "before", rounds=1, sites=1))
        live.stop("server")
        answer("federation", "backup", live.federation, "--to", tmp_path / "north.backup", *both)
        shutil.rmtree(live.federation)
        answer("federation", "restore", tmp_path / "north.backup", "--to", live.federation, *both)
        assert StudyFolder(live.federation / "studies" / "before").standing().state is StudyState.FINISHED
        live.serve()
        finished(live, queue_study(live.federation, "after", rounds=1, sites=1))
