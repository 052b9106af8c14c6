"""The spool keeps what was finished, tells a replay from a switched model, and survives a death at any step."""

import shutil
from pathlib import Path

import pytest
from lone_site import COUNTS, DRAWN, UPDATE

from client.spool import SiteSpool, Spooled
from shared.address import Address, Stage
from shared.canonical import digest
from shared.errors import Refusal, WireCode
from shared.wire import Ready, Work

MODEL, OTHER = "a" * 64, "b" * 64


def ready(number: int = 1, *, update: bytes | None = UPDATE, model: str = MODEL) -> Ready:
    return Ready(
        address=Address(study="lungs", epoch=1, round=number, attempt=1, stage=Stage.TRAIN),
        model_digest=model,
        update_digest=digest(update) if update else None,
        update_bytes=len(update or b""),
        uploaded=False,
        replayed=False,
        counts=COUNTS,
        scores=(),
        seconds={},
    )


def kept(spool: SiteSpool, number: int = 1, *, update: bytes | None = UPDATE) -> Spooled:
    place = spool.workplace("lungs", number)
    if update:
        (place / "update.safetensors").write_bytes(update)
    return spool.keep(ready(number, update=update), place, drawn=DRAWN)


@pytest.fixture
def spool(tmp_path: Path) -> SiteSpool:
    return SiteSpool(tmp_path / "spool")


def test_what_was_kept_is_found_again_by_another_process(spool: SiteSpool, tmp_path: Path) -> None:
    first = kept(spool)
    again = SiteSpool(tmp_path / "spool").find("lungs", 1, MODEL)
    assert again == first
    assert again.update.read_bytes() == UPDATE


def test_a_round_without_an_update_is_kept_too(spool: SiteSpool) -> None:
    assert kept(spool, update=None) == Spooled(ready(update=None), DRAWN, None)
    assert spool.find("lungs", 1, MODEL).update is None


def test_another_model_for_an_answered_round_is_refused(spool: SiteSpool) -> None:
    kept(spool)
    with pytest.raises(Refusal) as caught:
        spool.find("lungs", 1, OTHER)
    assert caught.value.wire_code is WireCode.MODEL_SWITCHED


def test_rounds_and_studies_do_not_mix(spool: SiteSpool) -> None:
    kept(spool)
    assert spool.find("lungs", 2, OTHER) is None
    assert spool.find("hearts", 1, OTHER) is None


def test_an_update_is_found_by_its_digest_alone(spool: SiteSpool) -> None:
    kept(spool)
    assert spool.find_update("lungs", 1, digest(UPDATE)) is not None
    assert spool.find_update("lungs", 1, OTHER) is None
    assert spool.find_update("lungs", 2, digest(UPDATE)) is None


def test_forgetting_drops_the_bytes_and_keeps_the_memory(spool: SiteSpool) -> None:
    for number in (1, 2, 3):
        kept(spool, number)
    assert spool.forget_updates("lungs", through=2) == [1, 2]
    assert spool.forget_updates("lungs", through=2) == []
    assert spool.find("lungs", 1, MODEL).update is None
    assert spool.find_update("lungs", 2, digest(UPDATE)) is None
    assert spool.find("lungs", 3, MODEL).update is not None
    with pytest.raises(Refusal):
        spool.find("lungs", 1, OTHER)


def test_nothing_is_forgotten_of_a_study_that_never_came(spool: SiteSpool) -> None:
    assert spool.forget_updates("hearts", through=9) == []


@pytest.mark.parametrize("died_after", ["workplace", "update", "ready"])
def test_what_was_not_kept_to_its_end_does_not_count(spool: SiteSpool, tmp_path: Path, died_after: str) -> None:
    place = spool.workplace("lungs", 1)
    if died_after != "workplace":
        (place / "update.safetensors").write_bytes(UPDATE)
    if died_after == "ready":
        (place / "ready.json").write_text(ready().model_dump_json())
    reopened = SiteSpool(tmp_path / "spool")
    assert reopened.find("lungs", 1, MODEL) is None
    assert reopened.find_update("lungs", 1, digest(UPDATE)) is None
    assert list(reopened.workplace("lungs", 1).iterdir()) == []
    assert kept(reopened).update.read_bytes() == UPDATE


def test_unfinished_work_of_a_round_that_is_over_is_swept(spool: SiteSpool, tmp_path: Path) -> None:
    spool.workplace("lungs", 1)
    later = spool.workplace("lungs", 2)
    assert spool.forget_updates("lungs", through=1) == []
    assert list((tmp_path / "spool" / "lungs").iterdir()) == [later]


def test_the_worker_of_an_agent_that_died_cannot_write_into_new_work(spool: SiteSpool, tmp_path: Path) -> None:
    before = spool.workplace("lungs", 1)
    place = SiteSpool(tmp_path / "spool").workplace("lungs", 1)
    assert place != before
    assert not before.exists()
    with pytest.raises(FileNotFoundError):
        (before / "update.safetensors").write_bytes(UPDATE)


def test_late_work_answers_a_later_round_where_the_disk_knows_no_hard_links(
    spool: SiteSpool, tmp_path: Path, elsewhere: Path
) -> None:
    done = kept(spool)
    (tmp_path / "spool" / "lungs" / "round-000001").rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", elsewhere / "round")
    (tmp_path / "spool" / "lungs" / "round-000001").symlink_to(elsewhere / "round")
    work = Work(
        address=done.ready.address.model_copy(update={"round": 2}),
        study_digest="d" * 64,
        model_digest=OTHER,
        previous_digest=MODEL,
        payload_bytes=9,
        slot_bytes=0,
    )
    carried = spool.carry(done, work)
    assert carried.update is not None and carried.update.read_bytes() == UPDATE
    assert carried.ready.late is not None and carried.ready.late.round == 1
