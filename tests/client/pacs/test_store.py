"""`wardround site store` into a real Orthanc, by DICOMweb and by DIMSE, and what the ledger says of it."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from live_federation import answer, wardround
from pacs_bed import ROOT, instance, join

from client.dicom_reports import DicomReports
from client.prediction import Finding, Prediction, ReadFile, write_answer
from deploy.audit.vocabulary import unknown_in
from deploy.bench.orthanc import Orthanc
from shared.canonical import digest
from shared.ledger import read_entries

MODEL = "ab" * 32
EXAM = f"{ROOT}.9"  # of no other test
CONSENT = ("--until", date.today() + timedelta(days=30), "--by", "ada")
Site = Callable[..., Path]


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Three answers with their reports, as `predict --dicom-sr` writes them."""
    images, out = tmp_path / "exams", tmp_path / "answers"
    images.mkdir()
    reports = DicomReports(images, out, now=lambda: datetime(2026, 1, 2, tzinfo=UTC))
    for n in range(3):
        data = instance(f"{EXAM}.1.{n}", exam=EXAM, series=f"{EXAM}.1", Modality="CR", AccessionNumber="Planted-9")
        (images / f"{n}.dcm").write_bytes(data)
        said = Prediction(
            exam=f"exam-{n}",
            study="chest",
            model=MODEL,
            findings=(Finding(name="opacity", probability=0.5, called=True),),
            calibration="none",
            operating_point="half",
            files=(ReadFile(file=f"{n}.dcm", sha256=digest(data), images=1),),
            set_aside={},
        )
        write_answer(out, said)
        reports.hear(said)
    assert reports.written == 3
    return out


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
def test_reports_are_stored_once_and_only_once_somebody_signed(
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
    assert (first["stored"], first["already_there"], first["noted"]) == (3, 0, True)
    assert len(held(emptied)) == 3
    again = answer("site", "store", answers, *where)
    assert (again["stored"], again["already_there"]) == (0, 3)
    assert [one["model"] for one in said(folder, "store_consent")] == [MODEL]
    stored = said(folder, "result_stored")
    assert len({one["instance"] for one in stored}) == 3
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
    answer("site", "allow-store", MODEL, "--withdraw", *where)
    assert failed("site", "store", answers, *where)[0] == 4
    assert len(said(config.parent, "store_consent_withdrawn")) == 1


def test_a_pacs_that_does_not_take_them_is_named(dimse_site: Site, answers: Path) -> None:
    config = dimse_site('modalities = ["CR"]', called="NOBODY")
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    code, found = failed("site", "store", answers, "--config", config)
    assert (code, found["data"]["stored"]) == (6, 0)
    assert "AE titles" in found["error"]["remedy"]
    assert said(config.parent, "result_stored") == []


def test_a_folder_with_another_dicom_file_is_not_stored(web_site: Site, answers: Path) -> None:
    config = web_site('modalities = ["CR"]')
    join(config.parent)
    answer("site", "allow-store", MODEL, *CONSENT, "--config", config)
    shutil.copy(answers.parent / "exams" / "0.dcm", answers / "exam-1.dcm")
    code, found = failed("site", "store", answers, "--config", config)
    assert (code, "no report" in found["error"]["what"]) == (3, True)
