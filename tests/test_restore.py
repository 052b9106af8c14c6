"""A site that is restored in the midst of a study, the coordinator's heads beside it: found out, declared, and gone on.

Both sides' own parts meet here: a site without its network and images, and what the server makes of its heads. The
slow test does the same over a real federation, with private studies.
"""

import shutil
from pathlib import Path

import pytest
from live_federation import LiveFederation, answer
from lone_site import START, LoneSite, a_study

from client.privacy.budget_file import open_budget
from server.heads import Heads
from server.ledger_records import TailLost
from server.study_folder import StudyFolder, StudyState
from shared.address import Stage
from shared.canonical import digest
from shared.errors import WireCode
from shared.heads import Held


class Study:
    """One study between a site and the server's heads, its rounds asked one after the other."""

    def __init__(self, site: LoneSite) -> None:
        self.site, self.heads, self.lost = site, Heads({}), list[TailLost]()
        self._heard = 0
        site.open()
        self._hear()

    def round(self, number: int) -> Held:
        """Ask a round, and hear the answer; what the site was told."""
        self.heads.note(Stage.TRAIN, number)
        held = self.heads.held(self.site.name)
        before = digest(START) if number > 1 else None
        self.site.tell(self.site.coordinator.work(number, previous_digest=before, heads=held))
        if self.site.answering.current is not None:
            self.site.finish()
        self._hear()
        return held

    def _hear(self) -> None:
        for said in self.site.answers[self._heard :]:
            self.lost += self.heads.declared(self.site.name, said)
            assert self.heads.hear(self.site.name, said)
        self._heard = len(self.site.answers)


def restore(site: LoneSite, backup: Path) -> None:
    site.site.ledger.close()
    shutil.rmtree(site.folder)
    shutil.copytree(backup, site.folder)
    site.start()


def reconcile(site: LoneSite, reason: str) -> dict[str, object]:
    site.site.ledger.close()
    config = site.folder / "site.toml"
    said = answer("site", "budget", "reconcile", "--config", config, "--by", "ada", "--reason", reason)
    answer("site", "withdraw", "--complete", "--yes", "--config", config)  # nobody withdrew meanwhile
    site.start()
    return said


def test_a_restored_site_is_found_out_declares_its_loss_and_goes_on_and_so_again(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study(rounds=8))
    study = Study(site)
    study.round(1)
    shutil.copytree(site.folder, tmp_path / "sunday")
    study.round(2)
    restore(site, tmp_path / "sunday")
    told = study.round(3)
    assert (site.refused(), study.lost) == ([WireCode.FOREIGN_HEAD], [])
    said = reconcile(site, "disk failed")
    assert said["tail_lost"] is not None and told.head is not None
    study.round(3)  # the server knows nothing of the loss yet, and the site goes on all the same
    (lost,) = study.lost
    assert (lost.held, lost.lost.entry, lost.lost.hash) == (told.head, told.head.n, told.head.hash)
    told = study.round(4)
    assert told.lost == {site.name: (lost.lost,)} and told.head is not None and told.proves(site.name)
    assert len(site.refused()) == 1
    assert site.entries("heads")[-1]["lost"] == {site.name: [lost.lost.model_dump()]}

    shutil.copytree(site.folder, tmp_path / "monday")
    study.round(5)
    restore(site, tmp_path / "monday")
    told = study.round(6)  # a second loss needs a declaration of its own, wherever its entries stand
    assert site.refused() == [WireCode.FOREIGN_HEAD] * 2
    reconcile(site, "disk failed again")
    study.round(6)
    assert [one.lost.entry for one in study.lost[1:]] == [told.head.n if told.head else 0]
    assert len(site.entries("tail_lost")) == len(site.site.egress.lost) == 2
    assert site.answers[-1].type == "ready"
    site.close()


# ------------------------------------------------------------ over a real federation

PRIVATE = "\n[privacy]\nnoise_multiplier = 1.0\nsampling_rate = 0.5\npatients_per_step = 9\n"
AWAY = "site-3"


def refusals(live: LiveFederation, folder: StudyFolder) -> set[str]:
    """The codes with which the site said no, by the journal."""
    found = (entry.data for entry in live.journal(folder) if entry.type == "site_refused")
    return {said["code"] for said in found if said["site"] == AWAY}


def started(live: LiveFederation) -> None:
    live.start_site(AWAY)
    live.until(lambda: live.site_state(AWAY) not in ("not started", "stopped"), f"{AWAY} is back")


@pytest.mark.slow
def test_a_live_site_that_was_restored_refuses_private_studies_until_it_is_reconciled(tmp_path: Path) -> None:
    with LiveFederation(tmp_path / "live") as live:
        live.begin()
        site, backup = live.sites[AWAY], tmp_path / "sunday"
        lungs = live.launch("lungs", rounds=60, steps=2, quorum=3, extra=PRIVATE)
        live.reached(lungs, commits=1)
        live.stop(AWAY)  # without it no round closes
        shutil.copytree(site, backup)
        before = len(live.commits(lungs))
        started(live)
        live.reached(lungs, commits=before + 2)
        live.stop(AWAY)
        spent = open_budget(site).read().budget.accounts["lungs"].charged
        shutil.rmtree(site)
        shutil.copytree(backup, site)

        started(live)
        live.until(lambda: lungs.standing().state is StudyState.FAILED, "nobody but the site can close a round")
        assert refusals(live, lungs) == {"foreign_head"}
        hearts = live.launch("hearts", rounds=1, steps=2, quorum=2, extra=PRIVATE)
        live.finished(hearts)
        assert "budget_stale" in refusals(live, hearts)
        assert live.commits(hearts)[0].counted == ("site-1", "site-2")
        plain = live.launch("plain", rounds=1, steps=2, quorum=2)  # which spends no privacy, and knows of the head
        live.finished(plain)
        assert live.commits(plain)[0].counted == ("site-1", "site-2")

        live.stop(AWAY)
        said = answer("site", "budget", "reconcile", "--config", site / "site.toml", "--by", "ada")
        assert said["tail_lost"] is not None
        assert open_budget(site).read().budget.accounts["lungs"].charged == 60 >= spent  # whatever may have been
        answer("site", "withdraw", "--complete", "--yes", "--config", site / "site.toml")
        started(live)
        answer("study", "resume", "lungs", "-f", live.federation)
        counted = len(live.commits(lungs))
        live.reached(lungs, commits=counted + 2)
        assert AWAY in live.commits(lungs)[-1].counted
        assert [entry.data["site"] for entry in live.journal(lungs) if entry.type == "tail_lost"] == [AWAY]
        live.until(lambda: any(AWAY in e.get("lost", {}) for e in live.ledger("site-1", "heads", "lungs")), "all know")
        answer("study", "stop", "lungs", "-f", live.federation)
        assert live.ledger_verdict(AWAY).ok
