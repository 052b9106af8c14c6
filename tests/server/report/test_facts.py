"""What the report says of studies that went well, and of those that did not."""

import json
from typing import Any

import pytest

from server.records import EpochClaimed, StudyFailed, StudyStopped, UpdateSpooled
from server.report import report_data
from server.report.evidence import read_evidence
from server.report.facts import Facts, facts_of
from server.study_folder import StudyState
from shared.errors import TrustError


def facts(ward: Any) -> Facts:
    return facts_of(read_evidence(ward.folder))


def test_a_finished_study_in_one_sentence(wards: Any) -> None:
    found = facts(wards.finished())
    area = found.test.merit
    assert found.notice is None
    assert found.headline.sentence == (
        "After 3 rounds on 600 training patients at 3 sites, the model reaches a test AUROC of"
        f" {area.value:.3f} (95 % interval {area.low:.3f} to {area.high:.3f}) on 180 test patients of 3 sites."
    )
    assert found.patients == {"train": 600, "validation": 120, "test": 180}
    assert "diagnosis" in found.not_for


def test_several_classes_are_a_macro_mean(wards: Any) -> None:
    assert "test macro AUROC of" in facts(wards.finished("multiclass")).headline.sentence


def test_only_sites_that_counted_are_said_to_have_trained_it(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).commit(1, "north")
    assert "1 round on 100 training patients at 1 site" in facts(ward).headline.sentence


def test_a_study_that_only_scores(wards: Any) -> None:
    ward = wards.new(wards.study("evaluate")).begin().closing_trip(0).finish(0)
    found = facts(ward)
    assert found.headline.before == "The model under study reaches a test AUROC of "
    assert (found.about.training, found.about.rounds_planned, found.rounds) == (None, 0, ())
    assert found.integrity.model_holds


def test_a_queued_study(wards: Any) -> None:
    ward = wards.new().end(StudyState.QUEUED)
    found = facts(ward)
    assert found.notice == "This study waits to be run. 0 of 3 rounds committed."
    assert "no trained model" in found.headline.sentence
    assert (found.about.started, found.about.seconds, found.sites) == (None, None, ())


def test_a_queued_study_without_a_journal_file(wards: Any) -> None:
    ward = wards.new().end(StudyState.QUEUED)
    (ward.folder.path / "journal.jsonl").unlink()
    assert facts(ward).integrity.chain.entries == 0


def test_a_stopped_study_says_so_first(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1).say(StudyStopped(reason="the coordinator asked to stop"))
    ward.end(StudyState.STOPPED, reason="The coordinator asked to stop.")
    found = facts(ward)
    assert found.notice == "This study was stopped. The coordinator asked to stop. 1 of 3 rounds committed."
    assert found.headline.sentence == (
        "The model after 1 round on 600 training patients at 3 sites was not scored on test patients,"
        " so there is no result."
    )


def test_a_failed_study_says_why_and_what_to_do(wards: Any) -> None:
    ward = wards.new().begin().say(StudyFailed(reason="Too few sites."))
    ward.end(StudyState.FAILED, reason="Too few sites.", remedy="Call them.")
    found = facts(ward)
    assert found.notice == "This study failed. Too few sites. 0 of 3 rounds committed."
    assert found.about.remedy == "Call them."


def test_seconds_are_medians_of_work_that_was_done(wards: Any) -> None:
    ward = wards.new().begin()
    for number, seconds in ((1, 2.0), (2, 8.0), (3, 4.0)):
        ward.say(ward.opening(number)).say(ward.ready(number, "north", train_s=seconds)).commit(number, "north")
    ward.say(ward.opening(4)).say(ward.ready(4, "north", train_s=900.0, replayed=True))
    found = facts(ward)
    assert found.sites[0].work.seconds == {"score": 0.5, "train": 4.0}
    assert found.sites[0].work.replays == 1
    assert found.seconds == {1: {"score": 0.5, "train": 2.0}, 2: {"score": 0.5, "train": 8.0}} | {
        3: {"score": 0.5, "train": 4.0},
        4: {},
    }


def test_an_update_taken_in_again_after_a_restart_travelled_once(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    again = ward.spooled(1, "north")
    ward.say(again, UpdateSpooled(round=1, site="south", update_digest="f" * 64, update_bytes=7))
    work = {site.site: (site.work.updates, site.work.update_bytes) for site in facts(ward).sites}
    assert work == {"north": (1, 1000), "south": (2, 1007), "west": (1, 1000)}


def test_devices_and_who_fell_back(wards: Any) -> None:
    ward = wards.new().begin(device="cpu", fell_back=True)
    machine = facts(ward).sites[0].machine
    assert (machine.device, machine.threads, machine.fell_back) == ("cpu", 2, True)
    assert machine.software == {"python": "3.11", "torch": "2.9"}


def test_a_site_that_never_opened_the_study_is_listed(wards: Any) -> None:
    ward = wards.new().begin(opened=("north",))
    ward.say(ward.opening(1, asked=("north",))).commit(1, "north")
    south = facts(ward).sites[1]
    assert (south.site, south.patients, south.machine, south.seats) == ("south", None, None, {"not asked": 1})


def test_the_integrity_of_a_sound_study(wards: Any) -> None:
    ward = wards.finished()
    proof = facts(ward).integrity
    assert (proof.study_holds, proof.model_holds) == (True, True)
    assert proof.model_digest == ward.score(3, "north").model_digest
    assert proof.model_file.path == "models/round-00003.safetensors"
    assert proof.chain.entries == proof.chain.signed_entries > 0  # the heads that the sites closed with, too
    assert [epoch.epoch for epoch in proof.epochs] == [1]
    assert set(proof.heads) == set(proof.contracts) == set(ward.sites)


def test_a_model_on_the_disk_that_is_another_or_missing(wards: Any) -> None:
    ward = wards.finished()
    path = ward.folder.path / "models" / "round-00003.safetensors"
    path.write_text("another")
    assert facts(ward).integrity.model_holds is False
    path.unlink()
    proof = facts(ward).integrity
    assert (proof.model_holds, proof.model_file.digest) == (None, None)


def test_a_study_that_was_changed_after_its_launch(wards: Any) -> None:
    ward = wards.finished()
    (ward.folder.path / "study.json").write_bytes(wards.study(rounds=4).canonical())
    assert facts(ward).integrity.study_holds is False


def test_a_resume_is_an_epoch_more(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1).say(EpochClaimed(epoch=2, pid=9))
    assert [epoch.epoch for epoch in facts(ward).integrity.epochs] == [1, 2]


def test_a_journal_that_was_tampered_with_gives_no_report(wards: Any) -> None:
    ward = wards.finished()
    path = ward.folder.path / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"examples":100', b'"examples":900', 1))
    with pytest.raises(TrustError, match=r"journal\.jsonl"):
        facts(ward)


def test_the_same_facts_as_json(wards: Any) -> None:
    ward = wards.finished("multilabel")
    data = json.loads(json.dumps(report_data(ward.folder), allow_nan=False))
    assert data["sentence"] == facts(ward).headline.sentence
    assert data["about"]["classes"] == ["opacity", "effusion"]
    assert len(data["curve"]) == 4
