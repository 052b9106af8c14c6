"""A site believes a round message only if the heads and receipts in it are those of its own ledger."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lone_site import START, LoneSite

from client import receipts as store
from client.privacy.claims import open_claims
from client.receipts import RECEIPTS_FILE, keep_receipts, recent_receipts
from shared.address import Stage
from shared.canonical import digest
from shared.errors import WireCode
from shared.heads import MOST_LOST, MOST_TOLD, Head, Held, LostTail, head_of
from shared.keys import make_identity_key
from shared.receipt import Receipt, read_receipt

STRANGE = Head(n=2, hash="9" * 64)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.open()
    yield lone
    lone.close()


def second(site: LoneSite, **changes: Any) -> Any:
    return site.coordinator.work(2, **({"previous_digest": digest(START)} | changes))


# ------------------------------------------------------------ the root and the own head


def test_the_root_of_all_heads_is_written_down_and_nothing_is_said(site: LoneSite) -> None:
    opened = site.answers[0].ledger
    site.tell(site.coordinator.work(1))
    site.finish()
    root = site.coordinator.held(opened).root
    assert site.entries("heads") == [{"study": "lungs", "round": 1, "root": root, "sites": 2, "entry": opened.n}]
    assert not any("head" in line for line in site.said)
    assert site.answers[-1].ledger.n > opened.n


def test_the_same_root_again_is_not_written_again(site: LoneSite) -> None:
    held = site.coordinator.held(site.answers[0].ledger)
    for attempt in (1, 2):
        place = site.coordinator.address("train", 1, attempt=attempt)  # type: ignore[arg-type]
        site.tell(site.coordinator.work(1, heads=held, address=place))
    assert len(site.entries("heads")) == 1


def test_an_older_head_is_one_of_its_own_too(site: LoneSite) -> None:
    """As when the site was away for a while."""
    older = site.answers[0].ledger
    site.tell(site.coordinator.work(1))
    site.finish()
    site.tell(second(site, heads=site.coordinator.held(older)))
    assert (site.refused(), [said["entry"] for said in site.entries("heads")]) == ([], [older.n])


@pytest.mark.parametrize("held", [None, Held(root="5" * 64, sites=2)])
def test_a_message_that_holds_no_head_of_the_site_is_said_and_goes_on(site: LoneSite, held: Held | None) -> None:
    site.line.sent.clear()  # so that the test's coordinator holds none either
    site.tell(site.coordinator.work(1, heads=held))
    site.finish()
    assert (site.refused(), len(site.uploads)) == ([], 1)
    assert site.entries("heads")[0]["entry"] is None
    assert "The coordinator holds no head of this site's ledger in round 1 of lungs." in site.said


@pytest.mark.parametrize("wrong", ["another hash", "beyond the end", "without proof"])
def test_a_head_that_it_never_had_is_refused_and_written_down(site: LoneSite, wrong: str) -> None:
    own = site.answers[0].ledger
    held = {
        "another hash": site.coordinator.held(own.model_copy(update={"hash": "9" * 64})),
        "beyond the end": site.coordinator.held(Head(n=99, hash=own.hash)),
        "without proof": site.coordinator.held(own).model_copy(update={"path": ("9" * 64,)}),
    }[wrong]
    site.tell(site.coordinator.work(1, heads=held))
    assert (site.refused(), site.hands.jobs[1:]) == ([WireCode.FOREIGN_HEAD], [])
    assert held.head is not None
    [said] = site.entries("head_refused")
    assert (said["entry"], said["hash"], said["round"]) == (held.head.n, held.head.hash, 1)
    assert "names a head of the site's ledger that this ledger does not have" in site.said[-1]
    assert site.entries("heads") == []


def test_a_ledger_that_was_rolled_back_does_not_go_on(site: LoneSite) -> None:
    ledger = site.folder / "ledger.jsonl"
    backup = ledger.read_bytes()
    site.tell(site.coordinator.work(1))
    site.finish()
    named = site.answers[-1].ledger
    site.site.ledger.close()
    ledger.write_bytes(backup)
    site.start()
    site.tell(second(site, heads=site.coordinator.held(named)))
    assert site.refused() == [WireCode.FOREIGN_HEAD]


def test_what_another_site_has_lost_is_written_down_and_said(site: LoneSite) -> None:
    loss = LostTail(since=2, entry=9, hash="9" * 64, declared="2026-01-02T03:04:05Z")
    held = site.coordinator.held(site.answers[0].ledger).model_copy(update={"lost": {"west": (loss,)}})
    for number in (1, 2):
        site.tell(
            site.coordinator.work(1, heads=held, address=site.coordinator.address(Stage.TRAIN, 1, attempt=number))
        )
    assert [said["lost"] for said in site.entries("heads")] == [{"west": [loss.model_dump()]}]
    assert (
        site.said.count("west has declared that it lost the end of its ledger; this site's ledger says so, too.") == 1
    )


# ------------------------------------------------------------ receipts


def test_more_losses_than_an_entry_holds_are_refused_and_the_site_goes_on(site: LoneSite) -> None:
    loss = LostTail(since=2**40 - 4, entry=2**40 - 3, hash="7" * 64, declared="2026-01-02T03:04:05.123456Z")
    told = {f"{n:0>48}": (loss,) * MOST_LOST for n in range(2 * MOST_TOLD)}
    held = site.coordinator.held(site.answers[0].ledger)
    site.tell(site.coordinator.work(1, heads=held.model_copy(update={"lost": told})))
    assert site.refused() == [WireCode.CONTRACT] and site.answering.current is None
    assert f"more than {MOST_TOLD} sites" in site.said[-1]
    site.start()
    most = dict(list(told.items())[:MOST_TOLD])
    site.tell(site.coordinator.work(1, heads=held.model_copy(update={"lost": most})))
    site.finish()
    assert site.answers[-1].type == "ready"
    assert len(site.entries("heads")[-1]["lost"]) == MOST_TOLD


def test_receipts_are_kept_beside_the_ledger_and_the_ledger_holds_them_too(site: LoneSite) -> None:
    site.tell(site.coordinator.work(1))
    site.finish()
    receipt = site.coordinator.receipt(1, head=site.answers[-1].ledger)
    site.tell(second(site, receipts=(receipt,)))
    assert (site.folder / RECEIPTS_FILE).read_bytes() == receipt.line()
    assert Receipt.model_validate(site.entries("receipt")[0]) == receipt
    assert recent_receipts(site.folder) == [receipt]
    assert open_claims(site.folder) == []
    assert (site.folder / RECEIPTS_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"site": "south"}, WireCode.BAD_SIGNATURE),
        ({"study": "chest"}, WireCode.BAD_SIGNATURE),
        ({"head": STRANGE}, WireCode.FOREIGN_HEAD),
    ],
)
def test_a_receipt_of_somebody_else_or_about_a_foreign_head_is_refused(
    site: LoneSite, changes: dict[str, Any], code: WireCode
) -> None:
    site.tell(second(site, receipts=(site.coordinator.receipt(1, **changes),)))
    assert site.refused() == [code]
    assert (site.folder / RECEIPTS_FILE).exists() is (code is WireCode.FOREIGN_HEAD)  # it is evidence of a loss


def test_a_receipt_that_the_coordinator_did_not_sign_is_refused(site: LoneSite) -> None:
    forged = site.coordinator.receipt(1).signed(make_identity_key())
    site.tell(second(site, receipts=(forged,)))
    assert site.refused() == [WireCode.BAD_SIGNATURE]


def test_what_tells_nothing_new_is_kept_once(site: LoneSite, tmp_path: Path) -> None:
    one = site.coordinator.receipt(1)
    again = site.coordinator.receipt(1, time="2026-01-02T03:04:06Z")
    newer = site.coordinator.receipt(1, head=head_of(site.site.ledger))
    for receipt in (one, again, newer, one):
        keep_receipts(tmp_path, [receipt])
    assert recent_receipts(tmp_path) == [one, newer]


def test_a_line_that_a_crash_tore_off_is_written_over(site: LoneSite, tmp_path: Path) -> None:
    one, two = site.coordinator.receipt(1), site.coordinator.receipt(2)
    (tmp_path / RECEIPTS_FILE).write_bytes(one.line() + two.line()[:50])
    assert recent_receipts(tmp_path) == [one]
    keep_receipts(tmp_path, [two])
    assert (tmp_path / RECEIPTS_FILE).read_bytes() == one.line() + two.line()


def test_the_file_keeps_the_newest_and_stays_within_its_bounds(site: LoneSite, tmp_path: Path) -> None:
    many = [site.coordinator.receipt(number) for number in range(1, 30)]
    line, times = many[0].line(), store.MOST_BYTES // len(many[0].line())
    (tmp_path / RECEIPTS_FILE).write_bytes(line * times)
    keep_receipts(tmp_path, many[1:])
    whole = (tmp_path / RECEIPTS_FILE).read_bytes()
    assert len(whole) < store.MOST_BYTES * 2 // 3
    assert [read_receipt(line).round for line in whole.splitlines()[-28:]] == list(range(2, 30))


def test_a_folder_without_receipts_has_none(tmp_path: Path) -> None:
    assert recent_receipts(tmp_path) == []
    assert open_claims(tmp_path) == []
