"""A site pays before it trains, refuses what a patient cannot afford, and believes no budget that lags."""

import fcntl
import json
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from live_federation import answer, wardround
from lone_site import LoneSite, a_study
from private_site import MANY, ONE, THREE, TWO, kept, open_study, private, reconciled, restored, train

from client.privacy.budget import unpacked
from client.privacy.budget_file import BudgetFile, open_budget
from client.privacy.patients import KEY_FILE
from client.privacy.reservations import give_back
from client.privacy.training_patients import TrainingPatients
from client.receipts import keep_receipts
from shared.errors import ConfigError, Refusal, ResourceError, WireCode
from shared.heads import Head
from shared.privacy import Mechanism, epsilon_of


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path, study=private(), lifetime_epsilon=10)
    yield lone
    lone.close()


def test_reserved_charged_and_given_back_stand_in_the_ledger_without_a_patient(site: LoneSite) -> None:
    open_study(site, private(), ONE, TWO)
    train(site, 1)
    site.tell(site.coordinator.close(1))
    (reserved,), (charged,), (returned,) = map(site.entries, ("budget_reserved", "privacy_spent", "budget_returned"))
    assert (reserved["rounds"], charged["round"], returned["rounds"]) == (3, 1, 2)
    assert (reserved["lifetime_epsilon"], charged["lifetime_epsilon"]) == (6, 6)
    assert [group.count for group in kept(site).budget.groups] == [2]
    ledger = (site.folder / "ledger.jsonl").read_bytes()
    assert not any(patient.hex().encode() in ledger for patient in (ONE, TWO))
    assert list((site.folder / "training-patients").iterdir()) == []


def test_a_study_that_a_patient_cannot_afford_is_refused_and_the_console_says_why(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    open_study(site, private("hearts"), ONE, TWO)
    assert site.refused() == [WireCode.OVER_BUDGET]
    (line,) = [line for line in site.said if "lifetime_epsilon" in line]
    assert "policy.budget.lifetime_epsilon = 10 refuses hearts" in line
    assert "come to epsilon 12.00; 4.00 is left" in line
    open_study(site, private("bones"), TWO)  # who has paid nothing still can
    assert [answer.type for answer in site.answers] == ["opened", "refused", "opened"]


def test_what_was_given_back_can_be_spent_again(site: LoneSite) -> None:
    open_study(site, private(rounds=5), ONE)
    train(site, 1)
    site.tell(site.coordinator.close(1))
    open_study(site, private("hearts"), ONE)
    assert site.refused() == []


def test_a_round_that_begins_again_is_refused_if_it_cannot_be_paid(site: LoneSite) -> None:
    open_study(site, private(rounds=5), ONE)
    site.tell(site.coordinator.work(1))
    site.hands.die()
    site.answering.worker_died()
    assert site.refused() == [WireCode.OVER_BUDGET]
    assert site.answers[-1].rule == "lifetime_epsilon"
    assert "The line before has the figures." in site.said[-1]  # not the worker's log, which says nothing of it
    assert len(site.entries("privacy_spent")) == 1


def test_without_a_limit_everything_is_charged_and_nothing_refused(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=private())
    for name in ("lungs", "hearts", "bones"):
        open_study(site, private(name), *MANY)
    assert site.refused() == []
    assert [entry["lifetime_epsilon"] for entry in site.entries("budget_reserved")] == [6, 12, 18]
    site.close()


def test_without_a_limit_noise_stands_for_no_floor(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=private())
    open_study(site, private(), *MANY[:4])
    open_study(site, private(), *MANY[:7])
    assert [(said.refusal, said.rule) for said in site.answers] == [
        (WireCode.TOO_FEW_PATIENTS, "patients_at_least"),
        (WireCode.POLICY, "batch_size_at_least"),
    ]
    assert "a step draws 1.75 patients on average" in site.said[-1] and not site.entries("budget_reserved")
    site.close()


def test_a_worker_that_names_nobody_opens_nothing(site: LoneSite) -> None:
    open_study(site, private())
    assert site.refused() == [WireCode.WORKER_CRASHED]


def test_work_of_a_study_that_reserved_nothing_is_not_begun(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    site.tell(site.coordinator.close(1))
    train(site, 1)
    assert site.refused() == [WireCode.UNKNOWN_STUDY]
    assert site.entries("privacy_spent") == []


# ------------------------------------------------------------------ what is not believed


@contextmanager
def no_room_behind(file: Path) -> Iterator[None]:
    """No file can be longer than this one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_crash_between_file_and_ledger_says_too_much_and_no_more(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    before = (site.folder / "ledger.jsonl").read_bytes()
    site.tell(site.coordinator.work(1))
    cut = site.folder / "ledger.jsonl"
    cut.write_bytes(b"".join(before.splitlines(keepends=True)))  # as if only the budget had been written
    site.start()
    train(site, 1)
    assert site.refused() == []
    assert sum(run.steps for run in kept(site).budget.groups[0].history) == 4  # twice
    assert kept(site).budget.accounts["lungs"].charged == 2


def test_what_a_crash_left_out_of_the_ledger_stands_there_when_the_agent_starts(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    ledger = site.folder / "ledger.jsonl"
    before = ledger.read_bytes()
    site.tell(site.coordinator.work(1))
    (charged,) = site.entries("privacy_spent")
    ledger.write_bytes(before)  # as if only the budget had been written
    site.start()
    for _ in range(2):
        site.site.purse.catch_up()
    assert site.entries("privacy_spent") == [charged]


def test_who_reconciles_stands_in_the_ledger_although_the_disk_was_full_at_first(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 1)
    (site.folder / "budget.json").unlink()
    site.site.ledger.close()
    with pytest.raises(ResourceError), no_room_behind(site.folder / "ledger.jsonl"):
        reconciled(site)
    site.start()
    assert site.entries("budget_reconciled") == []
    assert reconciled(site) is None
    ((said,), account) = site.entries("budget_reconciled"), kept(site).budget.accounts["lungs"]
    assert (said["by"], said["rounds"], account.charged, account.open) == ("ada", 1, 1, False)


def test_nobody_trains_whom_the_budget_does_not_charge(site: LoneSite) -> None:
    """The study was opened anew while a patient's images were away, and the disk was full when the list was written."""
    open_study(site, private(), ONE, TWO)
    train(site, 1)
    lists = TrainingPatients(site.folder)
    open_study(site, private(), ONE)
    lists.agree(private().digest(), frozenset({ONE, TWO}))  # as it was before
    train(site, 2, counted=1)
    assert site.refused() == [WireCode.UNKNOWN_STUDY]
    assert len(site.entries("privacy_spent")) == 1
    open_study(site, private(), ONE, TWO)
    train(site, 2, counted=1)
    assert [entry["round"] for entry in site.entries("privacy_spent")] == [1, 2]


@pytest.mark.parametrize("lost", ["restored", "gone", "damaged", "other key"])
def test_a_budget_that_lags_is_not_spent_from(site: LoneSite, lost: str) -> None:
    file = site.folder / "budget.json"
    open_study(site, private(), ONE)
    backup = file.read_bytes()
    train(site, 1)
    train(site, 2)
    if lost == "other key":
        (site.folder / KEY_FILE).unlink()
    else:
        file.write_bytes(backup) if lost == "restored" else file.unlink()
        if lost == "damaged":
            file.write_bytes(b"{}]")
    site.start()
    train(site, 3)
    assert site.refused() == [WireCode.BUDGET_STALE]
    assert any("wardround site budget reconcile" in line for line in site.said)
    open_study(site, private("hearts"), TWO)
    assert site.refused() == [WireCode.BUDGET_STALE] * 2
    site.coordinator.study = a_study("plain")  # which is not private
    site.open()
    assert len(site.refused()) == 2


@pytest.fixture
def backup(site: LoneSite, tmp_path: Path) -> Path:
    """A copy of the site's folder, with a private study open, that one more round was trained behind."""
    open_study(site, private(), ONE)
    site.site.ledger.close()
    shutil.copytree(site.folder, tmp_path / "backup")
    site.start()
    train(site, 1)
    return tmp_path / "backup"


def test_a_whole_folder_that_was_restored_is_found_out_by_the_coordinators_word(site: LoneSite, backup: Path) -> None:
    newest = site.coordinator.held(site.answers[-1].ledger)
    restored(site, backup)
    train(site, 2, counted=1, heads=newest)
    assert site.refused() == [WireCode.FOREIGN_HEAD]
    assert any("wardround site budget reconcile" in line for line in site.said)
    for _ in range(2):  # once found out it stays so, for every private study
        open_study(site, private("hearts"), TWO)
        site.start()
    assert site.refused()[1:] == [WireCode.BUDGET_STALE] * 2
    done = reconciled(site, reason="restored from the backup of Sunday")
    assert done is not None and done.lost is not None
    assert newest.head is not None
    (said,) = site.entries("tail_lost")
    assert (said["entry"], said["hash"]) == (newest.head.n, newest.head.hash)
    assert (said["by"], said["why"], said["since"]) == ("ada", "restored from the backup of Sunday", 0)
    assert done.kept.budget.accounts["lungs"].last_round == 3  # all may have begun


def test_a_site_goes_on_from_its_shorter_ledger_once_the_loss_is_declared(site: LoneSite, backup: Path) -> None:
    newest = site.coordinator.held(site.answers[-1].ledger)
    restored(site, backup)
    train(site, 2, counted=1, heads=newest)
    assert reconciled(site) is not None
    train(site, 2, counted=1, heads=newest)  # the coordinator has not heard of it yet
    assert site.refused() == [WireCode.FOREIGN_HEAD, WireCode.UNKNOWN_STUDY]  # its reservation has lapsed
    open_study(site, private(), ONE)
    assert site.answers[-1].lost == site.site.egress.lost
    train(site, 2, counted=1, heads=newest)
    assert site.answers[-1].type == "ready"
    assert reconciled(site) is None


def test_a_second_loss_is_not_covered_by_the_first_ones_declaration(
    site: LoneSite, backup: Path, tmp_path: Path
) -> None:
    newest = site.coordinator.held(site.answers[-1].ledger)
    restored(site, backup)
    train(site, 2, counted=1, heads=newest)
    reconciled(site)
    open_study(site, private(), ONE)
    knows = {"north": site.site.egress.lost}
    again = site.coordinator.held(Head(n=2, hash="9" * 64)).model_copy(update={"lost": knows})
    train(site, 2, counted=1, heads=again)
    assert site.refused()[-1] is WireCode.FOREIGN_HEAD


def test_studies_of_which_nobody_speaks_are_charged_all_they_reserved(site: LoneSite, backup: Path) -> None:
    newest = site.coordinator.held(site.answers[-1].ledger)
    restored(site, backup)
    open_study(site, private("hearts", rounds=2), TWO)
    train(site, 1, heads=newest)  # of hearts
    done = reconciled(site)
    assert done is not None
    accounts = done.kept.budget.accounts
    assert (accounts["lungs"].charged, accounts["hearts"].charged) == (3, 2)


def test_who_may_train_is_written_down_once_it_is_paid(site: LoneSite) -> None:
    open_study(site, private(), ONE, THREE)
    (path,) = (site.folder / "training-patients").iterdir()
    assert path.name == f"{private().digest()}.agreed"
    assert unpacked(path.read_bytes()) == {ONE, THREE}


# ------------------------------------------------------------------ until somebody has reconciled


def test_reconciling_charges_everybody_with_all_that_the_ledger_says(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 1)
    train(site, 2)
    (site.folder / "budget.json").unlink()
    done = reconciled(site)
    assert done is not None
    assert (done.kept.budget.groups, sum(run.steps for run in done.kept.budget.everyone)) == ((), 4)
    (entry,) = site.entries("budget_reconciled")
    assert (entry["by"], entry["rounds"], entry["lifetime_epsilon"]) == ("ada", 2, 4)
    train(site, 3)  # what was reserved has lapsed: the coordinator opens it anew
    assert site.refused() == [WireCode.UNKNOWN_STUDY]
    open_study(site, private(), TWO)
    assert site.entries("budget_reserved")[-1]["lifetime_epsilon"] == 6
    open_study(site, private("hearts", rounds=4), THREE)  # whom the ledger does not clear
    assert site.refused()[-1] is WireCode.OVER_BUDGET


def test_reconciling_charges_rounds_that_only_the_coordinator_knows_of(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 3, counted=2)
    assert site.refused() == [WireCode.BUDGET_STALE]
    done = reconciled(site)
    assert done is not None
    assert sum(run.steps for run in done.kept.budget.everyone) == 4
    assert done.kept.budget.accounts["lungs"].last_round == 2


def test_reconciling_forgets_no_round_that_only_the_budget_knows_of(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    ledger = site.folder / "ledger.jsonl"
    backup = ledger.read_bytes()
    train(site, 1)
    train(site, 2)
    ledger.write_bytes(backup)
    site.start()
    done = reconciled(site)
    assert done is not None
    assert sum(run.steps for run in done.kept.budget.everyone) == 4
    assert site.entries("budget_reconciled")[0]["rounds"] == 2


def test_a_ledger_that_lacks_what_a_receipt_names_is_believed_only_once_it_was_reconciled(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 1)
    receipt = site.coordinator.receipt(2, head=Head(n=99, hash="9" * 64))
    keep_receipts(site.folder, [receipt])
    site.start()
    train(site, 2)
    assert site.refused() == [WireCode.BUDGET_STALE]
    done = reconciled(site)
    assert done is not None
    assert done.kept.budget.accounts["lungs"].last_round == 3  # in a lost end all may have begun
    assert reconciled(site) is None


def test_what_was_charged_by_reconciling_once_is_not_forgotten_by_the_next(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 3, counted=2)
    assert reconciled(site) is not None
    assert [(one["rounds"], one["last_round"]) for one in site.entries("budget_reconciled")[0]["charged"]] == [(2, 2)]
    (site.folder / "budget.json").unlink()
    site.start()
    done = reconciled(site)
    assert done is not None
    assert sum(run.steps for run in done.kept.budget.everyone) == 4
    assert site.entries("budget_reconciled")[1]["charged"] == []


def test_a_contract_of_a_private_study_says_so_and_what_may_leave(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    site.coordinator.study = a_study("plain")
    site.open()
    assert [(one["private"], one["leaves"]) for one in site.entries("contract")] == [
        (True, ["update"]),
        (False, ["update", "patients", "examples", "counts", "seconds", "scores.validation", "scores.test"]),
    ]


def test_a_ledger_that_grew_or_was_cut_is_read_as_by_a_new_process(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    file, ledger = open_budget(site.folder), site.folder / "ledger.jsonl"
    before = ledger.read_bytes()
    assert file.read().budget.accounts["lungs"].charged == 0
    train(site, 1)
    assert file.read() == open_budget(site.folder).read()
    train(site, 2)
    ledger.write_bytes(before)
    with pytest.raises(Refusal, match="not in step"):
        file.read()


def test_a_budget_in_step_is_left_alone(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    before = (site.folder / "budget.json").read_bytes()
    assert reconciled(site) is None
    assert (site.folder / "budget.json").read_bytes() == before


def test_nobody_reconciles_under_a_running_agent(site: LoneSite) -> None:
    with (site.folder / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResourceError, match="agent runs"):
            reconciled(site)


def test_late_work_that_counted_is_no_sign_of_a_loss(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 1)
    answered = site.site.spool.find_unforgotten("lungs", 1)
    assert answered is not None
    site.site.spool.carry(answered, site.coordinator.work(2))
    train(site, 3, counted=2)
    assert site.refused() == []


# ------------------------------------------------------------------ studies that nobody closes


def test_a_study_that_is_given_up_frees_what_the_ledger_proves_unused_and_is_refused_until_opened_anew(
    site: LoneSite,
) -> None:
    open_study(site, private(rounds=5), ONE)
    train(site, 1)
    config = ("--config", site.folder / "site.toml")
    assert wardround("site", "budget", "give-back", "lungs", *config).exit_code != 0  # nobody is there to say yes
    assert site.entries("budget_returned") == []
    site.site.ledger.close()
    said = answer("site", "budget", "give-back", "lungs", "--by", "ada", "--yes", *config)
    assert (said["given_back"], said["rounds"], said["by"]) == (True, 4, "ada")
    assert [(entry["rounds"], entry["by"]) for entry in site.entries("budget_returned")] == [(4, "ada")]
    again = wardround("site", "budget", "give-back", "lungs", "--yes", *config)
    assert (again.exit_code, "Nothing is reserved for 'lungs'" in again.stderr) == (ConfigError.exit_code, True)
    site.start()
    train(site, 2)  # it still runs, as it turns out
    assert site.refused() == [WireCode.UNKNOWN_STUDY]
    open_study(site, private(rounds=5), ONE)
    train(site, 2)
    assert (site.answers[-1].type, kept(site).budget.accounts["lungs"].charged) == ("ready", 2)
    assert kept(site).budget.accounts["lungs"].reserved == 3


def test_nothing_is_given_back_that_the_ledger_does_not_prove_unused(site: LoneSite) -> None:
    open_study(site, private(rounds=5), ONE)
    train(site, 1)
    before = kept(site)
    more = before.budget.accounts["lungs"].model_copy(update={"reserved": 5})
    budget = before.budget.model_copy(update={"accounts": {"lungs": more}})
    BudgetFile(site.folder, key_check="").write(before.model_copy(update={"budget": budget}))
    with pytest.raises(Refusal, match="not in step"):
        give_back(site.folder, "lungs", by="ada", now="2026-01-02T03:04:05Z")
    assert site.entries("budget_returned") == []


def test_a_close_of_a_study_whose_record_is_lost_gives_back_what_did_not_begin(site: LoneSite) -> None:
    open_study(site, private(), ONE)
    train(site, 1)
    (site.folder / "state" / "lungs.json").unlink()
    site.start()
    site.tell(site.coordinator.close(1))
    assert site.refused() == [WireCode.UNKNOWN_STUDY]
    assert [entry["rounds"] for entry in site.entries("budget_returned")] == [2]
    open_study(site, private("hearts"), ONE)
    assert len(site.refused()) == 1


# ------------------------------------------------------------------ what hospital IT types


def test_what_is_shown_and_reconciled(site: LoneSite) -> None:
    config = ("--config", site.folder / "site.toml")
    open_study(site, private(), ONE, TWO)
    train(site, 1)
    said = answer("site", "budget", "show", *config)
    assert (said["in_step"], said["patients"], said["lifetime_epsilon"], said["delta"]) == (True, 2, 10, 1e-6)
    (study,) = said["studies"]
    assert (study["reserved"], study["charged"], study["returned"], study["open"]) == (2, 1, 0, True)
    expected = epsilon_of([Mechanism.model_validate(study["mechanism"] | {"steps": 6})], delta=1e-6)
    assert said["largest_epsilon"] == study["epsilon"] == pytest.approx(expected)
    assert said["left"] == pytest.approx(10 - expected)
    assert [level["patients"] for level in said["levels"] if level["above"] < expected <= (level["to"] or 1e9)] == [2]
    shown = wardround("site", "budget", "show", *config).stdout
    assert "2 patients at an epsilon" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    assert answer("site", "budget", "reconcile", *config) == {"reconciled": False}
    (site.folder / "budget.json").unlink()
    site.site.ledger.close()
    refused = wardround("site", "budget", "show", *config, "--json")
    assert refused.exit_code == Refusal.exit_code
    assert json.loads(refused.stdout)["data"]["in_step"] is False
    said = answer("site", "budget", "reconcile", "--by", "ada", *config)
    assert (said["reconciled"], said["by"], said["patients"], said["studies"][0]["charged"]) == (True, "ada", 0, 1)
    assert answer("site", "budget", "show", *config)["in_step"]
    site.start()
