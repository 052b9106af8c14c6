"""The resume benchmark: its books count what they should, and its promise holds for every process."""

from collections.abc import Iterator
from typing import Any

import pytest

from deploy.bench.accounts import Books, keep_books
from deploy.bench.killing import WHOM
from deploy.bench.resume import KILL_IN, ROUNDS, TRAIN, missed, run, show
from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateAdmitted, UpdateReady
from shared.chain import Tip
from shared.console import Answer, envelope
from shared.ledger import Entry

TIME = "2027-01-01T00:00:00Z"


def name(number: int) -> str:
    return f"{number:064x}"


def opened(number: int) -> RoundOpened:
    return RoundOpened(round=number, epoch=1, model_digest=name(0), cohort=("a", "b"))


def ready(number: int, site: str, *, replayed: bool = False) -> UpdateReady:
    return UpdateReady(
        round=number,
        site=site,
        update_digest=name(1),
        update_bytes=1,
        examples=1,
        patients=1,
        steps=1,
        replayed=replayed,
    )


def admitted(number: int, site: str, update: int) -> UpdateAdmitted:
    return UpdateAdmitted(round=number, site=site, update_digest=name(update), examples=1, norm=1.0)


def committed(number: int, *counted: str) -> RoundCommitted:
    return RoundCommitted(round=number, epoch=1, model_digest=name(9), previous_digest=name(0), counted=counted)


def ledger(*said: tuple[str, dict[str, Any]]) -> Iterator[Entry]:
    tip = Tip()
    for entry_type, data in said:
        entry, tip = tip.follow(tip.next_line(entry_type, data, time=TIME))
        yield entry


def release(number: int, update: int, study: str = "lungs") -> tuple[str, dict[str, Any]]:
    return "release", {"study": study, "round": number, "update_digest": name(update)}


def receipt(number: int, outcome: str = "counted") -> tuple[str, dict[str, Any]]:
    return "receipt", {"study": "lungs", "round": number, "outcome": outcome}


def books(*records: Record, **ledgers: Any) -> Books:
    return keep_books("lungs", records, ledgers)


def test_books_in_order() -> None:
    found = books(
        opened(1),
        *(ready(1, "a"), admitted(1, "a", 1), ready(1, "b"), admitted(1, "b", 2)),
        committed(1, "a", "b"),
        a=ledger(release(1, 1), receipt(1)),
        b=ledger(release(1, 2), receipt(1)),
    )
    assert (found.double_counted, found.unaccounted, found.replayed) == (0, 0, 0)
    assert found.complete(["a", "b"], rounds=1)
    assert not found.complete(["a", "b", "c"], rounds=1)
    assert not found.complete(["a", "b"], rounds=2)


def test_what_was_admitted_before_the_round_began_anew_counts_once() -> None:
    found = books(
        *(opened(1), ready(1, "a"), admitted(1, "a", 1)),
        *(opened(1), ready(1, "a", replayed=True), admitted(1, "a", 1), committed(1, "a")),
        a=ledger(release(1, 1), release(1, 1), receipt(1)),
    )
    assert (found.double_counted, found.unaccounted, found.replayed) == (0, 0, 1)
    assert found.released == {(1, "a"): (name(1), name(1))}


@pytest.mark.parametrize(
    "records",
    [
        (opened(1), admitted(1, "a", 1), admitted(1, "a", 2), committed(1, "a")),
        (opened(1), admitted(1, "a", 1), committed(1, "a"), opened(2), admitted(2, "a", 1), committed(2, "a")),
    ],
    ids=["twice in a round", "the same bytes in two rounds"],
)
def test_an_update_that_counts_twice_is_seen(records: tuple[Record, ...]) -> None:
    assert books(*records).double_counted == 1


def test_two_receipts_for_one_update_are_seen() -> None:
    found = books(
        opened(1), admitted(1, "a", 1), committed(1, "a"), a=ledger(receipt(1), receipt(1), receipt(2, "late"))
    )
    assert found.double_counted == 1


@pytest.mark.parametrize("said", [[], [release(1, 2)], [release(1, 1), release(1, 2)], [release(1, 1, "hearts")]])
def test_a_counted_update_must_be_the_one_that_the_site_released(said: list[tuple[str, dict[str, Any]]]) -> None:
    assert books(opened(1), admitted(1, "a", 1), committed(1, "a"), a=ledger(*said)).unaccounted == 1


def test_a_site_that_did_not_count_is_not_in_the_books() -> None:
    found = books(opened(1), admitted(1, "a", 1), admitted(1, "b", 2), committed(1, "a"), a=ledger(release(1, 1)))
    assert [update.place for update in found.counted] == [(1, "a")]


# ------------------------------------------------------------------ verdict


def case(whom: str | None = None, **other: Any) -> dict[str, Any]:
    return {
        "study": f"kill-{whom}",
        "killed": whom,
        "at": {"stage": "train", "round": KILL_IN, "mid_round": True} if whom else None,
        "weights_sha256": name(7),
        "resent_from_spool": 4 if whom in ("serverapp", "superlink") else 0,
        "uploaded_again": 0,
        "double_counted": 0,
        "unaccounted": 0,
        "orphans": 0,
        "all_counted": True,
        "seconds": 3.0,
        **other,
    }


def data(*cases: dict[str, Any], **other: Any) -> dict[str, Any]:
    resent = sum(c["resent_from_spool"] for c in cases)
    return {
        "undisturbed": case(),
        "undisturbed_sha256": name(7),
        "cases": list(cases),
        "orphans": 0,
        "resent_from_spool": resent,
        **other,
    }


def test_a_run_that_kept_its_promises_misses_none() -> None:
    assert list(missed(data(*map(case, WHOM)))) == []


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"weights_sha256": name(8)}, "differs"),
        ({"double_counted": 1}, "counted once"),
        ({"unaccounted": 1}, "counted once"),
        ({"all_counted": False}, "lost"),
        ({"uploaded_again": 1}, "uploaded again"),
        ({"at": {"stage": "train", "round": KILL_IN, "mid_round": False}}, "over before"),
    ],
)
def test_each_broken_promise_is_named_with_its_study(broken: dict[str, Any], word: str) -> None:
    (said,) = missed(data(case("site", **broken)))
    assert word in said
    assert said.startswith("kill-site: ")


def test_what_stays_behind_and_a_spool_that_was_not_used_are_named() -> None:
    said = list(missed(data(case("superlink", resent_from_spool=0), orphans=2)))
    assert len(said) == 2
    assert "2 processes or ports" in said[0]
    assert list(missed(data(case("worker")))) == []  # its agent lives, so nothing is sent again


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whoever_dies_in_the_middle_of_a_round_the_model_is_the_same() -> None:
    found = run()
    assert list(missed(found)) == []
    assert [c["killed"] for c in found["cases"]] == list(WHOM)
    assert {c["weights_sha256"] for c in found["cases"]} == {found["undisturbed_sha256"]}
    assert (found["double_counted"], found["orphans"], found["all_counted"]) == (0, 0, True)
    assert found["resent_from_spool"] >= 1
    assert (found["sites"], found["rounds"]) == (len(TRAIN), ROUNDS)
    assert envelope("bench.resume", Answer(found, show(found)))
