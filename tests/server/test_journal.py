"""The journal on disk: typed records in a signed chain, read back as the same history."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.journal import Journal, read_history, read_live_history, read_records
from server.ledger_records import SiteClosed
from server.record import Record
from server.records import EpochClaimed, RoundCommitted, RoundOpened, StudyFinished, StudyStarted, UpdateAdmitted
from shared.errors import ProtocolError, TrustError
from shared.ledger import Ledger, read_entries, read_lines, timestamp, verify

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
ONE, TWO = "1" * 64, "2" * 64
RECORDS: list[Record] = [
    StudyStarted(study="chest", study_digest=ONE, start_digest=ONE, cohort=("north",)),
    EpochClaimed(epoch=1, pid=10),
    RoundOpened(round=1, epoch=1, model_digest=ONE, cohort=("north",)),
    UpdateAdmitted(round=1, site="north", update_digest=TWO, examples=10, norm=1 / 3),
    RoundCommitted(round=1, epoch=1, model_digest=TWO, previous_digest=ONE, counted=("north",)),
    StudyFinished(model_digest=TWO),
]


def ticking() -> Callable[[], str]:
    seconds = itertools.count(1_700_000_000)
    return lambda: timestamp(next(seconds))


def open_journal(path: Path) -> Journal:
    return Journal.open(path, key=KEY, clock=ticking())


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        for record in RECORDS:
            journal.write(record)
        kept = journal.history
    assert [record for _, record in read_records(path)] == RECORDS
    assert read_live_history(path) == kept
    assert read_history(path).commits == kept.commits
    assert kept.norms.rounds == ((1 / 3,),)
    with open_journal(path) as again:
        assert again.history == kept


def test_rounds_and_the_end_are_sealed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        for record in RECORDS:
            journal.write(record)
    assert [entry.type for entry in read_entries(path)][-4:] == ["round_committed", "head", "study_finished", "head"]
    verdict = verify(read_lines(path), public_key=KEY.public_key(), signer="coordinator")
    assert verdict.ok
    assert verdict.end_signed


def test_the_head_of_a_site_is_sealed(tmp_path: Path) -> None:
    """It anchors the site's ledger, so that the coordinator's signature must cover it."""
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        for record in (*RECORDS, SiteClosed(site="north", head=ONE)):
            journal.write(record)
    assert [entry.type for entry in read_entries(path)][-2:] == ["site_closed", "head"]


def test_sync_waits_for_what_nobody_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        for record in RECORDS[:4]:
            journal.write(record)
        journal.sync()
        kept = journal.history
    assert read_live_history(path) == kept


def test_a_contradiction_is_never_written(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        journal.write(RECORDS[0])
        with pytest.raises(TrustError, match="contradicts"):
            journal.write(RECORDS[0])
        journal.write(RECORDS[1])
    assert read_history(path).epoch == 1


def test_a_torn_last_line_is_lost_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        for record in RECORDS[:3]:
            journal.write(record)
    whole = path.read_bytes()
    for length in (1, 40, len(whole.splitlines()[-1]) // 2):
        path.write_bytes(whole[:-length])
        with open_journal(path) as journal:
            assert journal.history.epoch == 1
            journal.write(RECORDS[2])
        assert len(list(read_records(path))) == 3


def test_an_altered_line_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with open_journal(path) as journal:
        for record in RECORDS[:3]:
            journal.write(record)
    path.write_bytes(path.read_bytes().replace(b'"pid":10', b'"pid":11'))
    with pytest.raises(TrustError):
        read_history(path)
    with pytest.raises(TrustError):
        open_journal(path)


def test_entries_of_a_later_version(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    with Ledger.open(path, key=KEY, signer="coordinator", now=timestamp(0)) as ledger:
        ledger.append("weather_noted", {"sky": "grey"}, time=timestamp(1))
        assert list(read_records(path)) == []
        ledger.append("epoch_claimed", {"epoch": 1, "pid": 1, "mood": "good"}, time=timestamp(2))
    with pytest.raises(ProtocolError, match="epoch_claimed"):
        read_history(path)
