"""A private study at one real site: opened, trained, restored from a backup, reconciled; a step costs one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from live_federation import answer
from lone_site import START, UPDATE, LoneSite, a_study, count_steps

from client.jobs import OpenDone, Place, RoundDone
from client.privacy.budget_file import BudgetFile, Kept
from client.privacy.reconcile import Reconciled, reconcile
from shared.canonical import digest
from shared.heads import Held
from shared.study import Study
from shared.wire import Counts

ONE, TWO, THREE = (bytes([n]) * 16 for n in (1, 2, 3))
MANY = tuple(bytes([n]) * 16 for n in range(8))  # of whom a step draws two
DONE = RoundDone(counts=Counts(examples=0, patients=0, steps=2), scores=(), seconds={})
PLACE = Place(device="cpu", reason="device = cpu in the configuration", fell_back=False, threads=1)


def private(name: str = "lungs", *, rounds: int = 3) -> Study:
    """Two steps a round; tests pay one for a step."""
    asked = {"noise_multiplier": 1.5, "sampling_rate": 0.25, "patients_per_step": 8}
    return a_study(name, rounds=rounds, model={"norm": "none"}, privacy=asked)


def open_study(site: LoneSite, study: Study, *patients: bytes) -> None:
    site.coordinator.study = study
    site.tell(site.coordinator.open())
    if patients:
        site.offer(*patients)
    site.answering.hear(OpenDone(patients={}, examples={}, place=PLACE, software={}))


def private_site(root: Path) -> Iterator[LoneSite]:
    """A site in a private study of five rounds with one patient; closed afterwards."""
    lone = LoneSite(root, study=private(rounds=5), lifetime_epsilon=1000)
    open_study(lone, private(rounds=5), ONE)
    yield lone
    lone.close()


def train(site: LoneSite, number: int, *, counted: int = 0, heads: Held | None = None) -> None:
    before = digest(START) if number > 1 else None
    site.tell(site.coordinator.work(number, counted_round=counted, previous_digest=before, heads=heads))
    if (task := site.answering.current) is not None:
        assert task.workplace is not None
        (task.workplace / "update.safetensors").write_bytes(UPDATE)
        site.answering.hear(DONE)


def kept(site: LoneSite) -> Kept:
    found = BudgetFile(site.folder, key_check="").look()
    assert found is not None
    return found


def restored(site: LoneSite, backup: Path) -> None:
    """The whole folder as it was, under a process that starts anew."""
    site.site.ledger.close()
    shutil.rmtree(site.folder)
    shutil.copytree(backup, site.folder)
    site.start()


def backed_up(site: LoneSite, root: Path) -> Path:
    """A copy of the site's folder as it is now."""
    site.site.ledger.close()
    backup = Path(shutil.copytree(site.folder, root / "backup"))
    site.start()
    return backup


def reconciled(site: LoneSite, *, reason: str | None = None) -> Reconciled | None:
    site.site.ledger.close()
    limit = site.site.settings.policy.budget
    done = reconcile(site.folder, limit, by="ada", now="2026-01-02T03:04:05Z", price=count_steps, reason=reason)
    if done is not None and done.lost is not None:  # within which nobody withdrew
        answer("site", "withdraw", "--complete", "--yes", "--config", site.folder / "site.toml")
    site.start()
    return done
