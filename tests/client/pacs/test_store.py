"""`wardround site store` into a real Orthanc, by DICOMweb and by DIMSE, and what the ledger says of it."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from live_federation import answer, wardround
from pacs_bed import ROOT, instance, join

from client.imaging.segmentation_object import SegmentationWords, SegmentedFrame, segmentation_object, source_of
from client.prediction.answer import Finding, Prediction, ReadFile, write_answer
from client.prediction.dicom_reports import DicomReports
from client.waiting_entries import entries_said
from deploy.audit.vocabulary import unknown_in
from deploy.bench.orthanc import Orthanc
from shared.canonical import digest
from shared.ledger import read_entries
from shared.model_card import RESEARCH_ONLY

MODEL = "ab" * 32
EXAM = f"{ROOT}.9"  # of no other test
CONSENT = ("--until", date.today() + timedelta(days=30), "--by", "ada")
Site = Callable[..., Path]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Three answers with their reports and one with its mask, as `predict --dicom-sr` and `--dicom-seg` write them."""
    images, out = tmp_path / "exams", tmp_path / "answers"
    images.mkdir()
    reports = DicomReports(images, out, now=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    for n in range(3):
        data = instance(f"{EXAM}.1.{n}", exam=EXAM, series=f"{EXAM}.1", Modality="CR", AccessionNumber="Planted-9")
        (images / f"{n}.dcm").write_bytes(data)
        said = prediction(
            f"exam-{n}",
            findings=(Finding(name="opacity", probability=0.5, called=True),),
            files=(ReadFile(file=f"{n}.dcm", sha256=digest(data), images=1),),
        )
        write_answer(out, said)
        reports.hear(said)
    assert reports.written == 3
    write_answer(out, prediction("exam.3", masks=("exam.3.seg.dcm",)))
    (out / "exam.3.seg.dcm").write_bytes(segmentation(data, MODEL))
    return out


def prediction(exam: str, **more: Any) -> Prediction:
    """An answer of the model."""
    said = {"study": "chest", "model": MODEL, "calibration": "none", "operating_point": "half", "files": ()}
    return Prediction(exam=exam, set_aside={}, **(said | more))


def segmentation(data: bytes, model: str) -> bytes:
    """The mask of one image, of 16 by 16 pixels."""
    mask = np.eye(16, dtype=np.uint8)
    words = SegmentationWords(RESEARCH_ONLY, ("lesion",), model, "chest", "0.1", datetime(2026, 1, 2, tzinfo=UTC))
    return segmentation_object([SegmentedFrame(source_of(data), 0, mask)], words)


@pytest.fixture
def emptied(orthanc: Orthanc) -> Iterator[Orthanc]:
    """The PACS, which forgets the exam of these tests afterwards."""
    yield orthanc
    root = orthanc.url.removesuffix("/dicom-web")
    with orthanc.client() as client:
        found = client.post(f"{root}/tools/find", json={"Level": "Study", "Query": {"StudyInstanceUID": EXAM}}).json()
        for study in found:
            client.delete(f"{root}/studies/{study}").raise_for_status()


def held(pacs: Orthanc) -> list[dict[str, Any]]:
    """The instances that a PACS has of the exam."""
    with pacs.client() as client:
        return list(client.get(f"{pacs.url}/studies/{EXAM}/instances").json())


def failed(*words: object) -> tuple[int, dict[str, Any]]:
    """(exit code, answer) of a command that fails; nothing that names a patient or a secret is in it."""
    done = wardround(*words, "--json")
    assert not any(word in done.output for word in ("Planted", ROOT, "of-nobody"))
    return done.exit_code, json.loads(done.stdout)


def said(folder: Path, kind: str) -> list[dict[str, Any]]:
    entries = [entry for entry in read_entries(folder / "ledger.jsonl") if entry.type == kind]
    assert [list(unknown_in(entry)) for entry in entries] == [[]] * len(entries)
    return [dict(entry.data) for entry in entries]


@pytest.mark.parametrize("way", ["web_site", "dimse_site"])
def test_results_are_stored_once_and_only_once_somebody_signed(
    request: pytest.FixtureRequest, way: str, answers: Path, emptied: Orthanc
) -> None:
    config: Path = request.getfixturevalue(way)('modalities = ["CR"]')
    folder, where = config.parent, ("--config", config)
    join(folder)
    code, found = failed("site", "store", answers, *where)
    assert (code, found["error"]["code"]) == (4, "trust")
    assert f"allow-store {MODEL}" in found["error"]["remedy"]
    given = answer("site", "allow-store", MODEL, *CONSENT, *where)
    assert (given["person"], given["noted"]) == ("ada", True)
    first = answer("site", "store", answers, *where)
    assert (first["stored"], first["already_there"], first["noted"]) == (4, 0, True)
    assert sorted(one["00080060"]["Value"][0] for one in held(emptied)) == ["SEG", "SR", "SR", "SR"]
    again = answer("site", "store", answers, *where)
    assert (again["stored"], again["already_there"]) == (0, 4)
    assert [one["model"] for one in said(folder, "store_consent")] == [MODEL]
    stored, sent = said(folder, "result_stored"), said(folder, "result_sent")
    assert [one["instance"] for one in sent] == [one["instance"] for one in stored]
    assert len({one["instance"] for one in stored}) == 4
    assert sorted(one["kind"] for one in stored) == ["seg", "sr", "sr", "sr"]
    assert {one["destination"] for one in stored} == {given["destination"]}
    assert b"Planted" not in (folder / "ledger.jsonl").read_bytes()
    assert EXAM.encode() not in (folder / "ledger.jsonl").read_bytes()


def test_what_was_signed_is_of_one_model_one_pacs_and_until_a_day(web_site: Site, answers: Path) -> None:
    config = web_site('modalities = ["CR"]')
    where = ("--config", config)
    join(config.parent)
    answer("site", "allow-store", "cd" * 32, *CONSENT, *where)
    assert failed("site", "store", answers, *where)[0] == 4
    assert failed("site", "allow-store", MODEL, "--until", "2020-01-01", *where)[0] == 3
    assert failed("site", "allow-store", MODEL, *where)[0] == 3
    answer("site", "allow-store", MODEL, *CONSENT, *where)
    consent = next((config.parent / "store-consents").glob(f"{MODEL}*"))
    sealed = consent.read_bytes()
    consent.write_bytes(sealed.replace(b"ada", b"eve"))
    assert failed("site", "store", answers, *where)[0] == 4
    consent.write_bytes(sealed)
    elsewhere = web_site('modalities = ["CR"]', url="https://127.0.0.1:9/dicom-web")
    code, found = failed("site", "store", answers, "--config", elsewhere)
    assert (code, "127.0.0.1:9" in found["error"]["what"]) == (4, True)
    web_site('modalities = ["CR"]')
    named = config.read_text()
    config.write_text(named.replace("/dicom-web", "/dicom-web/stranger"))  # another service of the same host
    code, found = failed("site", "store", answers, *where)
    assert (code, "/stranger" in found["error"]["what"]) == (4, True)
    config.write_text(named)
    answer("site", "allow-store", MODEL, "--withdraw", *where)
    assert failed("site", "store", answers, *where)[0] == 4
    consent.write_bytes(sealed)
    assert "last word" in failed("site", "store", answers, *where)[1]["error"]["what"]
    assert len(said(config.parent, "store_consent_withdrawn")) == 1


def test_a_withdrawal_is_written_down_before_the_file_goes(web_site: Site) -> None:
    config = web_site('modalities = ["CR"]')
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    consent = next((config.parent / "store-consents").iterdir())
    consent.unlink()
    consent.mkdir()  # which no unlink removes: as if a kill came there
    assert wardround("site", "allow-store", MODEL, "--withdraw", "--config", config).exit_code
    assert [one.data["model"] for one in entries_said(config.parent, {"store_consent_withdrawn"})] == [MODEL]


def test_a_pacs_that_does_not_take_them_is_named(dimse_site: Site, answers: Path) -> None:
    config = dimse_site('modalities = ["CR"]', called="NOBODY")
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    code, found = failed("site", "store", answers, "--config", config)
    assert (code, found["data"]["stored"]) == (6, 0)
    assert "AE titles" in found["error"]["remedy"]
    assert (len(said(config.parent, "result_sent")), said(config.parent, "result_stored")) == (1, [])


def test_a_folder_with_another_dicom_file_is_not_stored(web_site: Site, answers: Path) -> None:
    config = web_site('modalities = ["CR"]')
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    shutil.copy(answers.parent / "exams" / "0.dcm", answers / "exam-1.dcm")
    code, found = failed("site", "store", answers, "--config", config)
    assert (code, "no result" in found["error"]["what"]) == (3, True)


def test_a_mask_of_another_model_or_answer_is_not_stored(web_site: Site, answers: Path) -> None:
    config = web_site('modalities = ["CR"]')
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    mask = answers / "exam.3.seg.dcm"
    sound = mask.read_bytes()
    mask.write_bytes(segmentation((answers.parent / "exams" / "0.dcm").read_bytes(), "cd" * 32))
    assert failed("site", "store", answers, "--config", config)[0] == 3
    mask.write_bytes(sound)
    mask.rename(answers / "exam-0.seg.dcm")
    assert failed("site", "store", answers, "--config", config)[0] == 3


def test_outside_the_hours_nothing_is_stored(web_site: Site, answers: Path) -> None:
    start, end = (f"{datetime.now() + timedelta(hours=hours):%H:%M}" for hours in (6, 7))
    config = web_site('modalities = ["CR"]', f'[policy]\nhours = ["{start}-{end}"]')
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    code, found = failed("site", "store", answers, "--config", config)
    assert (code, found["error"]["code"], found["data"]["stored"]) == (5, "refused", 0)
    assert "policy.hours" in found["error"]["remedy"]
    assert said(config.parent, "result_stored") == []
