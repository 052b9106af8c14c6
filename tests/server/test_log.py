"""The log tells every entry in words, checks the chain while it reads, and may be read while it grows."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.claim import AdmissionReason
from server.journal import Journal
from server.ledger_records import SiteClosed
from server.log import JournalReader, Line, read_log
from server.narration import told
from server.record import Record
from server.records import (
    EpochClaimed,
    ModelChosen,
    OwnModelCompared,
    OwnModelMade,
    OwnModelScored,
    RoundCommitted,
    RoundFailed,
    RoundOpened,
    SiteLost,
    SiteOpened,
    SiteRefused,
    SiteScored,
    SiteValidated,
    StudyAmended,
    StudyFailed,
    StudyFinished,
    StudyPaused,
    StudyStarted,
    StudyStopped,
    TrainingEnded,
    UpdateAdmitted,
    UpdateReady,
    UpdateRefused,
    UpdateSpooled,
)
from shared.chain import Tip
from shared.errors import TrustError, WireCode
from shared.ledger import timestamp

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
ONE, TWO = "1" * 64, "2" * 64
WORK: dict[str, Any] = {
    **{"round": 1, "update_digest": TWO, "update_bytes": 9, "replayed": False},
    **{"examples": 1200, "patients": 600, "steps": 3, "seconds": {"score": 0.5, "train": 2.0}},
}
AMENDED: dict[str, Any] = {"amendment_digest": ONE, "previous_digest": ONE, "study_digest": TWO}
COMMIT: dict[str, Any] = {"round": 1, "epoch": 1, "model_digest": TWO, "previous_digest": ONE}
CHOSEN: dict[str, Any] = {"round": 1, "model_digest": TWO, "metric": "auroc"}
SAID: list[tuple[Record, str]] = [
    (
        StudyStarted(study="chest", study_digest=ONE, start_digest=ONE, cohort=("north", "south")),
        "the study starts with north, south",
    ),
    (
        StudyAmended(**AMENDED, rounds=5, deadline_s=90.0, number=1),
        "amendment 1: 5 rounds, deadline 1 min 30 s",
    ),
    (EpochClaimed(epoch=1, pid=10), "process 10 takes the study over, epoch 1"),
    (
        SiteOpened(
            **{"site": "north", "contract_digest": ONE, "patients": {"test": 1, "train": 9, "validation": 2}},
            **{"examples": {}, "device": "cpu", "threads": 1},
        ),
        "north opens; patients: 9 train, 2 validation, 1 test",
    ),
    (SiteRefused(round=0, site="south", code=WireCode.NO_DATA), "south says no: The site has no usable images"),
    (RoundOpened(round=1, epoch=1, model_digest=ONE, cohort=("north", "south")), "the round opens for north, south"),
    (UpdateReady(site="north", **WORK), "north is ready: 1,200 images, 3 steps, 2.5 s"),
    (UpdateReady(site="south", **WORK | {"replayed": True}), "1,200 images, 3 steps, from its spool"),
    (UpdateSpooled(round=1, site="north", update_digest=TWO, update_bytes=1500), "north's update is here, 1.5 kB"),
    (UpdateAdmitted(round=1, site="north", update_digest=TWO, examples=10, norm=1 / 3), "is admitted, norm 0.333"),
    (
        UpdateRefused(round=1, site="south", reasons=(AdmissionReason.NORM,), detail=""),
        "south's update is refused: The update is far larger",
    ),
    (SiteLost(round=1, site="south", cause="line_lost"), "south is lost: The line was lost."),
    (RoundCommitted(**COMMIT, counted=("north",), refused={"south": "norm"}), "is committed: north; without south"),
    (
        RoundCommitted(**COMMIT, counted=("north",), late={"east": "asked", "south": "granted"}),
        "is committed: north; still at work: east; without south",
    ),
    (
        UpdateAdmitted(round=9, site="north", update_digest=TWO, examples=1, norm=1.0, late_from=6, discount=0.5),
        "is admitted, norm 1; it is of round 6 and weighs 50%",
    ),
    (RoundFailed(round=2, counted=(), missing={"north": "waiting"}), "fails: nobody counted; without north"),
    (
        TrainingEnded(round=12, cause="patience", best=6),
        "training ends: stopped after round 12: no better model since that of round 6",
    ),
    (TrainingEnded(round=2, cause="patience", best=0), "no better model since the start model"),
    (TrainingEnded(round=3, cause="rounds"), "training ends: all 3 rounds are done"),
    (SiteValidated(site="north", model=2, model_digest=TWO, scores=()), "north scores the model of round 2"),
    (
        ModelChosen(**CHOSEN, cause="best", value=0.9125, cohort=("north", "south"), candidates=(0, 1, 2)),
        "round 1 is chosen: its AUROC on the validation patients of 2 sites is 0.912, the best of 3 models",
    ),
    (ModelChosen(**CHOSEN, cause="unscored"), "it is the last one, and no site told a figure of any"),
    (
        ModelChosen(**CHOSEN, cause="undefined", cohort=("north",)),
        "of the validation patients of 1 site is not defined",
    ),
    (OwnModelMade(of="north", update_digest=ONE, model_digest=TWO), "the own model of north is made"),
    (OwnModelScored(of="north", site="south", model_digest=TWO, scores=()), "south scores the own model of north"),
    (OwnModelCompared(of="north", missing={"west": "asked"}), "the own model of north is compared; without west"),
    (SiteScored(site="north", model_digest=TWO, scores=()), "north scores the model"),
    (StudyStopped(reason="the coordinator asked to stop"), "is stopped: the coordinator asked to stop"),
    (StudyPaused(), "is paused; the sites keep it open"),
    (StudyFailed(reason="no disk"), "the study fails: no disk"),
    (StudyFinished(model_digest=TWO), "is finished; its model is 222222222222"),
    (SiteClosed(site="north", head=ONE), "north puts the study away"),
]
FIRST = [record for record, _ in SAID if not isinstance(record, StudyAmended)][:5]


class Unforeseen(Record):
    """A kind of record that this version has no words for."""

    site: str


def ticking() -> Callable[[], str]:
    seconds = itertools.count(1_700_000_000)
    return lambda: timestamp(next(seconds))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal.open(tmp_path / "journal.jsonl", key=KEY, clock=ticking()) as journal:
        yield journal


def reader(folder: Path) -> JournalReader:
    return JournalReader(folder / "journal.jsonl", public_key=KEY.public_key())


def log(folder: Path) -> list[Line]:
    return list(read_log(reader(folder)))


@pytest.mark.parametrize(("record", "words"), SAID)
def test_every_record_has_its_words(record: Record, words: str) -> None:
    assert words in told(record)


def test_a_record_without_words_of_its_own_is_told_by_its_name() -> None:
    assert told(Unforeseen(site="north")) == "north: unforeseen"


def test_a_line_names_its_place_its_round_and_its_site(journal: Journal, tmp_path: Path) -> None:
    for record in FIRST:
        journal.write(record)
    lines = log(tmp_path)
    assert [line.n for line in lines] == [1, 2, 3, 4, 5]
    assert (lines[3].site, lines[3].round, lines[4].site, lines[4].round) == ("south", 0, None, 1)
    assert lines[0].time.startswith("2023-11-14T22:13:21")


def test_a_changed_entry_ends_the_log_after_the_sound_ones(journal: Journal, tmp_path: Path) -> None:
    for record in FIRST:
        journal.write(record)
    path, read = tmp_path / "journal.jsonl", []
    path.write_bytes(path.read_bytes().replace(b'"epoch":1,"pid":10', b'"epoch":1,"pid":11'))
    with pytest.raises(TrustError, match="does not follow"):
        for line in read_log(reader(tmp_path)):
            read.append(line.n)
    assert read == [1, 2]


def test_a_head_of_another_key_ends_the_log(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
    (tmp_path / "journal.jsonl").write_bytes(
        Tip().head_line(key=other, signer="coordinator", time=timestamp(0.0)) + b"\n"
    )
    with pytest.raises(TrustError, match="signature does not hold"):
        log(tmp_path)


def test_a_study_that_has_not_begun_has_no_log(tmp_path: Path) -> None:
    assert log(tmp_path) == []


def test_a_log_is_followed_while_it_grows(journal: Journal, tmp_path: Path) -> None:
    """Whoever follows sees each entry once, and the last one before it ends."""
    waiting, path = [*FIRST], tmp_path / "journal.jsonl"
    torn = b'{"data":{},"n":'

    def rest() -> None:
        path.write_bytes(path.read_bytes().removesuffix(torn))
        journal.write(waiting.pop(0))
        path.write_bytes(path.read_bytes() + torn)  # the next entry is on its way

    lines = list(read_log(reader(tmp_path), over=lambda: not waiting, rest=rest))
    assert [line.n for line in lines] == [1, 2, 3, 4, 5]


def test_what_a_crash_tore_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b"torn")
    with Journal.open(path, key=KEY, clock=ticking()) as journal:
        journal.write(EpochClaimed(epoch=1, pid=10))
    assert log(tmp_path)[0].words == "a crash tore off the last line, 4 bytes of it"
