"""A patient who has withdrawn is in no study any more, and nothing but a keyed hash says who."""

import fcntl
import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from few_patients import PRIVATE, site_of_few
from live_federation import answer, wardround
from lone_site import START, LoneSite, a_study
from PIL import Image

from client.image_lists import ImageLists
from client.imaging.label_settings import LabelSettings
from client.imaging.settings import DataSettings
from client.jobs import OpenJob
from client.privacy.claims import Claim, note_claim
from client.privacy.patients import KEY_FILE
from client.privacy.withdrawn import FILE_NAME, Withdrawn
from client.settings import load_settings, write_settings
from client.work.workbench import Workbench
from server.launch import start_state
from shared.canonical import digest
from shared.errors import ConfigError, Refusal, ResourceError, WireCode
from shared.heads import Head
from shared.study import Study
from shared.update import table_of

STUDY = a_study(model={"width": 8})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = site_of_few(tmp_path)
    yield lone
    lone.close()


def withdraw(site: LoneSite, patient: str) -> bool:
    return Withdrawn(site.folder).add(patient, by="ada", time="2026-01-02T03:04:05Z")


def test_who_has_withdrawn_is_in_no_split_of_a_later_study(site: LoneSite) -> None:
    assert withdraw(site, "patient 0")  # trains
    assert withdraw(site, "patient 7")  # is a test patient
    assert not withdraw(site, "patient 7")
    done = Workbench(site.folder).open(OpenJob(study=STUDY, tensors=table_of(start_state(STUDY))))
    assert done.patients == {"train": 5, "validation": 1, "test": 0}


def test_an_open_study_goes_on_without_it(site: LoneSite) -> None:
    bench = Workbench(site.folder)
    bench.open(OpenJob(study=STUDY, tensors=table_of(start_state(STUDY))))
    before = bench._work(STUDY)
    assert bench._work(STUDY) is before
    withdraw(site, "patient 0")
    after = bench._work(STUDY)
    assert [work._data.train.patient_count for work in (before, after)] == [6, 5]
    assert after._data.counts.set_aside["withdrawn"] == 2


def test_it_is_offered_to_no_private_study(site: LoneSite) -> None:
    bench, job = Workbench(site.folder), OpenJob(study=PRIVATE, tensors=table_of(start_state(PRIVATE)))
    bench.open(job)
    before = bench._training.offered(PRIVATE.digest())
    withdraw(site, "patient 0")
    bench.open(job)
    assert bench._training.offered(PRIVATE.digest()) == before - Withdrawn(site.folder).patients()
    assert len(before) == 6


@pytest.mark.parametrize("study", [STUDY, PRIVATE], ids=["ordinary", "private"])
def test_a_damaged_list_lets_nobody_train(site: LoneSite, study: Study) -> None:
    withdraw(site, "patient 0")
    (site.folder / FILE_NAME).write_text("{}\n")
    with pytest.raises(Refusal, match="list of patients"):
        Workbench(site.folder).open(OpenJob(study=study, tensors=table_of(start_state(study))))
    site.coordinator.study = study
    site.tell(site.coordinator.open())
    assert (site.refused(), site.hands.jobs) == ([WireCode.WITHDRAWN_DAMAGED], [])
    (line,) = [line for line in site.said if "list of patients" in line]
    assert "withdrawn.jsonl" in line and "wardround site withdraw" in line


def test_a_list_that_is_damaged_in_an_open_study_ends_its_rounds_and_once_mended_they_go_on(site: LoneSite) -> None:
    withdraw(site, "patient 0")
    site.coordinator.study = a_study()
    site.open()
    mended = (site.folder / FILE_NAME).read_bytes()
    (site.folder / FILE_NAME).write_bytes(mended[:20])
    site.tell(site.coordinator.work(1))
    assert site.refused() == [WireCode.WITHDRAWN_DAMAGED]
    refused = wardround("site", "withdraw", "patient 1", "--config", site.folder / "site.toml")
    assert refused.exit_code == Refusal.exit_code
    (site.folder / FILE_NAME).write_bytes(mended)
    site.tell(site.coordinator.work(1))
    site.finish()
    assert site.answers[-1].type == "ready"


def test_what_is_typed_is_never_written_and_the_ledger_says_that_somebody_withdrew(site: LoneSite) -> None:
    config = ("--config", site.folder / "site.toml")
    site.coordinator.study = a_study()
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    site.tell(site.coordinator.work(2, receipts=(site.coordinator.receipt(1),)))
    site.site.ledger.close()
    said = answer("site", "withdraw", "patient 0", "--by", "ada", *config)
    assert (said["withdrawn"], said["new"]) == (True, True)
    assert [(one["study"], one["rounds"], len(one["models"])) for one in said["affected"]] == [("lungs", [1], 1)]
    assert [entry["by"] for entry in site.entries("patient_withdrawn")] == ["ada"]
    shown = wardround("site", "withdraw", "patient 0", *config).stdout
    assert "had withdrawn before" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert [entry["by"] for entry in site.entries("patient_withdrawn")] == ["ada"]
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.suffix != ".npz"]
    assert not any(b"patient 0" in path.read_bytes() for path in files)
    site.start()


def test_a_running_agent_notes_it_before_its_next_work(site: LoneSite) -> None:
    with (site.folder / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = answer("site", "withdraw", "patient 0", "--by", "ada", "--config", site.folder / "site.toml")
    assert (said["new"], said["whole"], site.entries("patient_withdrawn")) == (True, None, [])
    site.open()
    assert [entry["by"] for entry in site.entries("patient_withdrawn")] == ["ada"]


def test_a_ledger_that_cannot_be_written_is_said_and_the_patient_is_on_the_list(site: LoneSite) -> None:
    site.open()
    site.site.ledger.close()
    words = ("site", "withdraw", "patient 0", "--config", site.folder / "site.toml", "--json")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((site.folder / "ledger.jsonl").stat().st_size, hard))
    try:
        failed = wardround(*words)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = json.loads(failed.stdout)
    assert failed.exit_code == ResourceError.exit_code and "could not be written" in said["error"]["what"]
    assert (said["data"]["new"], said["data"]["whole"], len(Withdrawn(site.folder).patients())) == (True, None, 1)
    site.start()
    site.open()
    assert len(site.entries("patient_withdrawn")) == 1


@pytest.mark.parametrize("lost", ["deleted", "an older one"])
def test_a_list_that_lacks_whom_the_ledger_names_lets_nobody_train(site: LoneSite, lost: str) -> None:
    withdraw(site, "patient 0")
    site.coordinator.study = a_study()
    site.open()
    older = (site.folder / FILE_NAME).read_bytes()
    withdraw(site, "patient 1")
    site.tell(site.coordinator.work(1))
    site.finish()
    if lost == "deleted":
        (site.folder / FILE_NAME).unlink()
    else:
        (site.folder / FILE_NAME).write_bytes(older)
    for _ in range(2):  # a running agent, and one that was started again
        jobs = list(site.hands.jobs)
        site.tell(site.coordinator.work(2, previous_digest=digest(START)))
        site.tell(site.coordinator.open(attempt=2))
        assert site.refused()[-2:] == [WireCode.WITHDRAWN_DAMAGED] * 2 and site.hands.jobs == jobs
        site.start()
    assert "wardround site withdraw --complete" in site.said[-1]


def test_a_list_that_is_lost_is_entered_again_and_declared_complete(site: LoneSite) -> None:
    for patient in ("patient 0", "patient 1"):
        withdraw(site, patient)
    site.open()
    (site.folder / FILE_NAME).unlink()
    config = ("--by", "ada", "--config", site.folder / "site.toml")
    site.site.ledger.close()
    again = wardround("site", "withdraw", "patient 0", *config)
    assert again.exit_code == 0 and "still lacks some" in again.stdout
    assert answer("site", "withdraw", "patient 1", *config)["whole"] is False
    asked = wardround("site", "withdraw", "--complete", *config)  # nobody is there to say yes
    assert asked.exit_code != 0 and "2 marks that the list lacks; the list has 2 lines" in asked.stderr
    assert site.entries("withdrawals_complete") == []
    assert answer("site", "withdraw", "--complete", "--yes", *config)["missing"] == 2
    assert answer("site", "withdraw", "--complete", *config)["missing"] == 0
    (declared,) = site.entries("withdrawals_complete")
    marks = [entry["mark"] for entry in site.entries("patient_withdrawn")]
    assert declared == {"by": "ada", "missing": sorted(marks[:2])} and len(set(marks)) == 4
    site.start()
    site.open()
    site.tell(site.coordinator.work(1))
    site.finish()
    assert site.answers[-1].type == "ready"


def test_after_a_loss_nobody_trains_until_somebody_has_declared_that_all_are_on_the_list(site: LoneSite) -> None:
    site.site.ledger.close()
    list_, config = site.folder / FILE_NAME, ("--by", "ada", "--config", site.folder / "site.toml")
    answer("site", "withdraw", "patient 0", *config)
    shutil.copytree(site.folder, site.folder.parent / "backup")
    answer("site", "withdraw", "patient 1", *config)  # after the backup, which is all that is left then
    shutil.rmtree(site.folder)
    shutil.move(site.folder.parent / "backup", site.folder)
    held = Head(n=99, hash="9" * 64)
    note_claim(site.folder, Claim(study="lungs", round=1, head=held))
    told = wardround("site", "budget", "reconcile", *config).stdout
    assert told.index("withdraw\n") < told.index("withdraw --complete\n") < told.index("start the agent")
    for number in (1, 2):  # and a restart changes nothing
        site.start()
        site.tell(site.coordinator.open(attempt=number))
        assert (site.refused(), site.hands.jobs) == ([WireCode.WITHDRAWN_DAMAGED] * number, [])
    assert "even if it is nobody" in site.said[-1] and "wardround site withdraw --complete" in site.said[-1]
    site.site.ledger.close()
    assert answer("site", "withdraw", "patient 1", *config)["whole"] is False
    asked = wardround("site", "withdraw", "--complete", *config)
    assert "0 marks that the list lacks; the list has 2 lines. The ledger has lost its end" in asked.stderr
    assert answer("site", "withdraw", "--complete", "--yes", *config) == {"missing": 0, "after_loss": True}
    assert answer("site", "withdraw", "--complete", *config) == {"missing": 0, "after_loss": False}
    assert site.entries("withdrawals_complete") == [{"by": "ada", "missing": []}]
    assert len(list_.read_bytes().splitlines()) == 2
    site.start()
    site.tell(site.coordinator.open(attempt=3))
    assert len(site.hands.jobs) == 1


def test_a_patient_beside_complete_is_neither_dropped_nor_taken_for_all(site: LoneSite) -> None:
    withdraw(site, "patient 0")
    site.open()
    (site.folder / FILE_NAME).unlink()
    site.site.ledger.close()
    words = ("site", "withdraw", "patient 1", "--complete", "--yes", "--config", site.folder / "site.toml")
    refused = wardround(*words)
    assert refused.exit_code == ConfigError.exit_code and "nothing was done" in refused.stderr
    assert not (site.folder / FILE_NAME).exists() and site.entries("withdrawals_complete") == []


def test_only_a_person_beside_a_stopped_agent_declares_it(site: LoneSite) -> None:
    with (site.folder / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = wardround("site", "withdraw", "--complete", "--config", site.folder / "site.toml")
    assert refused.exit_code == ResourceError.exit_code and "The site's agent runs" in refused.stderr


def test_under_another_key_the_list_names_nobody_and_nobody_trains(site: LoneSite) -> None:
    withdraw(site, "patient 0")
    (site.folder / KEY_FILE).unlink()  # and another is made, unasked
    with pytest.raises(Refusal, match="list of patients"):
        Withdrawn(site.folder).patients()
    site.tell(site.coordinator.open())
    assert (site.refused(), site.hands.jobs) == ([WireCode.WITHDRAWN_DAMAGED], [])
    assert "patients.key" in site.said[-1]


def test_the_ledger_s_marks_tell_of_nobody(site: LoneSite) -> None:
    marks = set()
    for _ in range(2):  # the same patient, of the same site
        withdraw(site, "patient 0")
        site.tell(site.coordinator.open())
        marks.add(site.entries("patient_withdrawn")[-1]["mark"])
        (named,) = Withdrawn(site.folder).patients()
        assert not any(named.hex() in str(entry) for entry in site.entries("patient_withdrawn"))
        (site.folder / FILE_NAME).unlink()
        site.start()
    assert len(marks) == 2


@pytest.mark.parametrize("opened", [True, False], ids=["by a study's list", "by the images"])
def test_an_identifier_is_taken_as_the_readers_of_images_take_it(site: LoneSite, opened: bool) -> None:
    if opened:
        Workbench(site.folder).open(OpenJob(study=STUDY, tensors=table_of(start_state(STUDY))))
        ImageLists(site.folder).commit(STUDY.digest())
        (site.folder / "images.npz").unlink()
    said = answer("site", "withdraw", " patient 0\n", "--config", site.folder / "site.toml")
    assert (said["new"], withdraw(site, "patient 0"), withdraw(site, "patient 0 ")) == (True, False, False)


@pytest.mark.parametrize("typed", ["patient 99", "patient\xa00", "PATIENT 0", "patient \udcff"])
def test_an_identifier_that_no_image_carries_withdraws_nobody_and_writes_nothing(site: LoneSite, typed: str) -> None:
    Workbench(site.folder).open(OpenJob(study=STUDY, tensors=table_of(start_state(STUDY))))
    ImageLists(site.folder).commit(STUDY.digest())
    before = (site.folder / "ledger.jsonl").read_bytes()
    config = ("--config", site.folder / "site.toml")
    refused = wardround("site", "withdraw", typed, *config)
    assert refused.exit_code == ConfigError.exit_code and typed not in refused.output
    assert "No image here carries this identifier" in refused.stderr or "not valid UTF-8" in refused.stderr
    assert not (site.folder / FILE_NAME).exists() and (site.folder / "ledger.jsonl").read_bytes() == before


@pytest.mark.parametrize("file", ["file", "Bild"])
def test_a_patient_is_found_in_a_table_of_other_words(tmp_path: Path, file: str) -> None:
    lone = LoneSite(tmp_path / "ward")
    (tmp_path / "pictures").mkdir()
    Image.new("L", (32, 32)).save(tmp_path / "pictures" / "one.png")
    (tmp_path / "table.csv").write_text(f"{file};Schlüssel;Befund\none.png;M-17;x\n", encoding="windows-1252")
    columns = {"Schlüssel": "patient"} | ({"Bild": "file"} if file == "Bild" else {})
    labels = LabelSettings(encoding="windows-1252", columns=columns)
    data = DataSettings(kind="pictures", folder=tmp_path / "pictures", labels=tmp_path / "table.csv")
    written = lone.folder / "site.toml"
    settings = load_settings(written).model_copy(update={"data": data, "labels": labels})
    written.unlink()
    write_settings(written, settings)
    config = ("--config", written)
    try:
        assert wardround("site", "withdraw", "M-18", *config).exit_code == ConfigError.exit_code
        assert answer("site", "withdraw", "M-17", *config)["new"]
    finally:
        lone.close()


def test_a_patient_whose_images_come_later_withdraws_unseen(site: LoneSite) -> None:
    config = ("--config", site.folder / "site.toml")
    assert answer("site", "withdraw", "patient 99", "--unknown", *config)["new"]
    assert not answer("site", "withdraw", "patient 99", *config)["new"]  # known by the list of who has withdrawn
