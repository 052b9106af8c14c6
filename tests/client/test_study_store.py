"""A site remembers the study it agreed to and the models it saw, and notices a history that changed."""

from pathlib import Path

import pytest
from lone_site import TENSORS, TERMS, a_study

from client.study_store import StudyRecord, StudyStore
from shared.address import Address, Stage
from shared.errors import Refusal, WireCode
from shared.wire import Open

A, B, C = "a" * 64, "b" * 64, "c" * 64


def record(name: str = "lungs") -> StudyRecord:
    place = Address(study=name, epoch=1, round=0, attempt=1, stage=Stage.OPEN)
    opening = Open(address=place, study=a_study(name), tensors=TENSORS, cohort=("north",))
    return StudyRecord(open=opening, epoch=1, terms=TERMS)


def test_a_record_outlives_the_process(tmp_path: Path) -> None:
    seen = record().with_model(1, A, None)
    StudyStore(tmp_path).save(seen)
    assert StudyStore(tmp_path).find("lungs") == seen
    assert StudyStore(tmp_path).find("hearts") is None
    assert (tmp_path / "lungs.json").stat().st_mode & 0o777 == 0o600


def test_only_open_studies_are_active(tmp_path: Path) -> None:
    store = StudyStore(tmp_path)
    store.save(record())
    store.save(record("hearts").model_copy(update={"closed": True}))
    assert store.active() == StudyStore(tmp_path).active() == ["lungs"]


@pytest.mark.parametrize("text", ["", "{", '{"open": 3}'])
def test_a_record_that_cannot_be_read_counts_as_absent(tmp_path: Path, text: str) -> None:
    (tmp_path / "lungs.json").write_text(text)
    assert StudyStore(tmp_path).find("lungs") is None


def test_models_that_follow_each_other_are_noted_and_the_last_two_kept() -> None:
    chained = record().with_model(1, A, None).with_model(2, B, A).with_model(2, B, A).with_model(3, C, B)
    assert chained.chain == {2: B, 3: C}
    assert record().with_model(7, B, A).chain == {7: B}


@pytest.mark.parametrize(("number", "model", "previous"), [(1, B, None), (2, B, C), (2, B, None)])
def test_a_history_that_changed_is_refused(number: int, model: str, previous: str | None) -> None:
    with pytest.raises(Refusal) as caught:
        record().with_model(1, A, None).with_model(number, model, previous)
    assert caught.value.wire_code is WireCode.MODEL_SWITCHED
