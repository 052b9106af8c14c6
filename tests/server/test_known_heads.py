"""What the next study knows of a site's ledger that an earlier one heard: a restore between the two is found out."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.known_heads import Known, known_by
from server.ledger_records import HeadsNoted, SiteClosed, TailLost
from server.record import Record
from shared.address import Stage
from shared.heads import Head, LostTail
from shared.identity import COORDINATOR
from shared.ledger import Ledger

NOW = "2026-01-02T03:04:05Z"
LOST = LostTail(since=2, entry=9, hash="a" * 64, declared=NOW)
Write = Callable[..., Path]


def head(n: int, letter: str = "a") -> Head:
    return Head(n=n, hash=letter * 64)


def noted(**heads: Head) -> HeadsNoted:
    return HeadsNoted(round=1, stage=Stage.TRAIN, root="0" * 64, heads=heads)


def known(*journals: Path, **admitted: float) -> dict[str, Known]:
    return known_by(journals, admitted={"north": 0, "south": 0, "east": 0} | admitted)


@pytest.fixture
def journal(tmp_path: Path) -> Write:
    """Writes the journal of a study."""

    def write(study: str, *records: Record) -> Path:
        path = tmp_path / f"{study}.jsonl"
        with Ledger.open(path, key=Ed25519PrivateKey.generate(), signer=COORDINATOR, now=NOW) as ledger:
            for record in records:
                ledger.append(record.entry_type(), record.model_dump(mode="json"), time=NOW)
        return path

    return write


def test_of_several_studies_the_furthest_head_of_each_site_is_known(journal: Write) -> None:
    first = journal("lungs", noted(north=head(5), south=head(4)), noted(north=head(8)))
    other = journal("bones", noted(north=head(7), east=head(2)), SiteClosed(site="east", head="b" * 64, n=3))
    assert known(first, other) == known(other, first)
    assert known(first, other) == {
        "north": Known(head(8)),
        "south": Known(head(4)),
        "east": Known(head(3, "b")),
    }


def test_after_a_loss_the_shorter_ledger_is_right_and_a_longer_one_of_before_is_not(journal: Write) -> None:
    before = journal("lungs", noted(north=head(9)))
    declared = TailLost(site="north", lost=LOST, held=head(9))
    told = journal("bones", noted(north=head(9)), declared)
    assert known(before, told) == {"north": Known(None, (LOST,))}
    later = journal("hearts", declared, noted(north=head(4, "b")))
    assert known(later, told, before) == {"north": Known(head(4, "b"), (LOST,))}


def test_what_a_loss_does_not_cover_stays_known(journal: Write) -> None:
    told = journal("lungs", noted(north=head(10)), TailLost(site="north", lost=LOST, held=head(10)))
    assert known(told) == {"north": Known(head(10), (LOST,))}


def test_a_journal_that_cannot_be_read_tells_nothing_and_hinders_no_other_study(journal: Write, tmp_path: Path) -> None:
    sound, damaged = journal("lungs", noted(north=head(5))), tmp_path / "damaged.jsonl"
    damaged.write_bytes(b'{"type":"heads_noted"}}\n')
    assert known(damaged, sound, tmp_path / "gone.jsonl") == {"north": Known(head(5))}


def test_of_a_site_that_was_admitted_anew_only_its_new_ledger_is_known(journal: Write) -> None:
    told = journal("lungs", noted(north=head(5), south=head(4)), SiteClosed(site="north", head="b" * 64, n=6))
    heard = datetime.fromisoformat(NOW).timestamp()
    assert known(told, north=heard + 1) == {"south": Known(head(4))}
    assert known(told, north=heard) == {"north": Known(head(6, "b")), "south": Known(head(4))}
    assert "south" not in known_by([told], admitted={"north": 0})
