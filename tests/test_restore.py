"""A site that is restored in the midst of a study, the coordinator's heads beside it: found out, declared, and gone on.

Both sides' own parts meet here: a site without its network and images, and what the server makes of its heads.
"""

import shutil
from pathlib import Path

from live_federation import answer
from lone_site import START, LoneSite, a_study

from server.heads import Heads
from server.ledger_records import TailLost
from shared.canonical import digest
from shared.errors import WireCode
from shared.heads import Held
from shared.wire import Stage


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
