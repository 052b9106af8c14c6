"""A patient who has withdrawn is in no study any more, and nothing but a keyed hash says who."""

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from few_patients import PRIVATE, site_of_few
from live_federation import answer, wardround
from lone_site import LoneSite, a_study

from client.jobs import OpenJob
from client.withdrawn import FILE_NAME, Withdrawn
from client.workbench import Workbench
from server.launch import start_state
from shared.errors import Refusal, WireCode
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
    before = bench._cohorts.offered(PRIVATE.digest())
    withdraw(site, "patient 0")
    bench.open(job)
    assert bench._cohorts.offered(PRIVATE.digest()) == before - Withdrawn(site.folder).patients()
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
    assert site.entries("patient_withdrawn") == [{"by": "ada"}]
    shown = wardround("site", "withdraw", "patient 0", *config).stdout
    assert "had withdrawn before" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert site.entries("patient_withdrawn") == [{"by": "ada"}]
    files = [path for path in site.folder.rglob("*") if path.is_file() and path.suffix != ".npz"]
    assert not any(b"patient 0" in path.read_bytes() for path in files)
    site.start()


def test_a_running_agent_notes_it_before_its_next_work(site: LoneSite) -> None:
    with (site.folder / "agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer("site", "withdraw", "patient 0", "--by", "ada", "--config", site.folder / "site.toml")
    assert site.entries("patient_withdrawn") == []
    site.open()
    assert site.entries("patient_withdrawn") == [{"by": "ada"}]
