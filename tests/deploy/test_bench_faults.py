"""The bench of faults: its plan, what it reads in a journal, what it makes of it, and a dozen real faults."""

import fcntl
import io
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deploy.bench.accounts import keep_books
from deploy.bench.aftermath import held_locks, lost, unfinished_files
from deploy.bench.fault_plan import CARDS, Place, Strike, draw_plan
from deploy.bench.fault_run import ROUNDS, TRAIN
from deploy.bench.faults import missed, run, show
from deploy.bench.moments import ORDER, Lookout, Point, Progress, Reached
from deploy.bench.small_disk import fill, make_room, small_disk, why_not
from deploy.bench.victims import Victim
from server.record import Record
from server.records import (
    EpochClaimed,
    RoundCommitted,
    RoundOpened,
    SiteScored,
    StudyFinished,
    UpdateAdmitted,
    UpdateReady,
    UpdateSpooled,
)
from shared.console import Answer, envelope
from shared.keys import make_identity_key
from shared.ledger import Ledger, timestamp

SITES = ("a", "b")
DIGEST = "0" * 64


def plan(runs: int, seed: int = 7) -> list[Strike]:
    return draw_plan(runs, seed=seed, sites=SITES, rounds=3)


# ------------------------------------------------------------------ the plan


def test_the_same_seed_draws_the_same_plan_and_a_longer_one_goes_on_from_it() -> None:
    assert plan(30) == plan(30)
    assert plan(60)[:30] == plan(30)
    assert plan(30) != plan(30, seed=8)


def test_every_fault_comes_before_any_comes_again_and_so_does_every_stage() -> None:
    drawn = plan(len(CARDS))
    assert Counter(strike.card for strike in drawn) == Counter(CARDS)
    stages = [strike.at.point for strike in drawn if strike.at is not None]
    assert set(stages[: len(ORDER)]) == set(ORDER)


def test_every_third_moment_is_one_of_the_wall_clock() -> None:
    drawn = plan(300)
    assert [strike.run for strike in drawn if strike.at is None] == list(range(3, 301, 3))
    shares = sorted(strike.share for strike in drawn if strike.at is None)
    assert all(abs(share - n / 100) < 0.2 for n, share in enumerate(shares))


def test_every_kind_of_process_is_killed_stopped_and_restarted() -> None:
    done = {(card.fault.value, card.victim) for card in CARDS if isinstance(card.victim, Victim)}
    assert {(fault, victim) for fault in ("kill -9", "stop", "restart") for victim in Victim} <= done
    assert {card.victim for card in CARDS} == {*Victim, *Place}


def test_a_planned_stage_is_one_that_a_study_has() -> None:
    places = {strike.at for strike in plan(900) if strike.at is not None}
    assert {p.round for p in places if p.point is Point.OPEN} == {0}
    assert {p.round for p in places if p.point in (Point.EVALUATE, Point.CLOSE)} == {3}
    assert {p.round for p in places if p.point is Point.COMMITTED} == {1, 2}
    assert {p.round for p in places if p.point is Point.FOLD} == {1, 2, 3}


# ------------------------------------------------------------------ how far a study is


def opened(number: int) -> RoundOpened:
    return RoundOpened(round=number, epoch=1, model_digest=DIGEST, cohort=SITES)


def ready(number: int, site: str) -> UpdateReady:
    fields: dict[str, Any] = {"update_digest": DIGEST, "update_bytes": 9, "examples": 4, "patients": 4, "steps": 1}
    return UpdateReady(round=number, site=site, replayed=False, **fields)


def spooled(number: int, site: str) -> UpdateSpooled:
    return UpdateSpooled(round=number, site=site, update_digest=DIGEST, update_bytes=9)


def admitted(number: int, site: str) -> UpdateAdmitted:
    return UpdateAdmitted(round=number, site=site, update_digest=DIGEST, examples=4, norm=1.0)


def committed(number: int, *counted: str, **absent: str) -> RoundCommitted:
    return RoundCommitted(
        round=number, epoch=1, model_digest=DIGEST, previous_digest=DIGEST, counted=counted, absent=absent
    )


LIFE: list[tuple[Record, Reached]] = [
    (EpochClaimed(epoch=1, pid=1), Reached(0, Point.OPEN)),
    (opened(1), Reached(1, Point.TRAIN)),
    (ready(1, "a"), Reached(1, Point.READY)),
    (spooled(1, "a"), Reached(1, Point.SPOOLED)),
    (admitted(1, "a"), Reached(1, Point.ADMITTED)),
    (admitted(1, "b"), Reached(1, Point.FOLD)),
    (committed(1, *SITES), Reached(1, Point.COMMITTED)),
    (opened(2), Reached(2, Point.TRAIN)),
    (committed(2, *SITES), Reached(2, Point.EVALUATE)),
    (SiteScored(site="a", model_digest=DIGEST, scores=()), Reached(2, Point.EVALUATE)),
    (StudyFinished(model_digest=DIGEST), Reached(2, Point.CLOSE)),
]


def test_each_record_of_a_journal_leads_to_its_stage() -> None:
    progress, found = Progress(rounds=2), []
    for record, _ in LIFE:
        progress.take(record)
        found.append(progress.now)
    assert found == [place for _, place in LIFE]
    assert {place.point for place in found} == set(Point)
    assert all(later.passed(earlier) for earlier, later in pairwise(found))
    assert not found[0].passed(found[1])


def test_a_journal_is_followed_as_it_grows_and_up_to_a_time(tmp_path: Path) -> None:
    lookout = Lookout(tmp_path / "journal.jsonl", rounds=2)
    assert lookout.look() == Reached(0, Point.OPEN)
    key = make_identity_key()
    with Ledger.open(tmp_path / "journal.jsonl", key=key, signer="coordinator", now=timestamp(0)) as ledger:
        for second, (record, _) in enumerate(LIFE[:4]):
            ledger.append(record.entry_type(), record.model_dump(mode="json"), time=timestamp(second))
        assert lookout.look(until=1.5) == LIFE[1][1]
        ledger.sign_head(time=timestamp(9))
        assert lookout.look(until=2.0) == LIFE[2][1]
        assert lookout.look() == LIFE[3][1]


# ------------------------------------------------------------------ what is lost, and what is left


@pytest.mark.parametrize(
    ("records", "missing"),
    [
        ((opened(1), admitted(1, "a"), admitted(1, "b"), committed(1, "a", "b")), set()),
        ((opened(1), admitted(1, "a"), admitted(1, "b"), committed(1, "a", b="line_lost")), set()),
        ((opened(1), admitted(1, "a"), admitted(1, "b"), committed(1, "a")), {(1, "b")}),
        ((opened(1), admitted(1, "a")), {(1, "a")}),
    ],
    ids=["counted", "named", "silent", "no commit"],
)
def test_finished_work_is_lost_if_no_committed_round_speaks_of_it(
    records: tuple[Record, ...], missing: set[tuple[int, str]]
) -> None:
    assert lost(keep_books("s", records, {}), records) == missing


def test_what_is_unfinished_or_held_is_found(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    for name in ("a.part", "round-1.x.partial", "model.safetensors", "a.lock"):
        (tmp_path / "spool" / name).touch()
    assert {path.name for path in unfinished_files(tmp_path)} == {"a.part", "round-1.x.partial"}
    assert held_locks(tmp_path) == []
    with (tmp_path / "spool" / "a.lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert [path.name for path in held_locks(tmp_path)] == ["a.lock"]


def test_a_small_disk_fills_and_empties_and_its_files_stay_when_it_goes(tmp_path: Path) -> None:
    if (reason := why_not()) is not None:
        pytest.skip(reason)
    with small_disk(tmp_path / "disk", mib=1) as disk:
        (disk / "kept").write_bytes(b"kept")
        fill(disk)
        with pytest.raises(OSError, match="No space"):
            (disk / "more").write_bytes(bytes(9000))
        (disk / "more").unlink()
        make_room(disk)
        (disk / "more").write_bytes(bytes(9000))
    assert {path.name for path in (tmp_path / "disk").iterdir()} == {"kept", "more"}
    assert not (tmp_path / "disk").is_mount()
    assert [path.name for path in tmp_path.iterdir()] == ["disk"]


# ------------------------------------------------------------------ verdict


def case(**other: Any) -> dict[str, Any]:
    return {
        "run": 1,
        "fault": "kill -9",
        "victim": "agent",
        "site": "north",
        "stage_hit": "train",
        "round_hit": 1,
        "finished": True,
        "reason": None,
        "seconds": 9.0,
        "all_counted": True,
        "identical": True,
        "lost": 0,
        "double_counted": 0,
        "unaccounted": 0,
        "ledgers_verify": True,
        **other,
    }


def data(*cases: dict[str, Any], **other: Any) -> dict[str, Any]:
    nothing = {"left_processes": 0, "left_ports": 0, "left_files": 0, "left_locks": 0}
    return {"cases": list(cases), "skipped": [], "stages_hit": {"train": 1}} | nothing | other


@pytest.mark.parametrize("whole", [{}, {"all_counted": False, "identical": False}], ids=["all", "a smaller cohort"])
def test_a_run_that_kept_its_promises_misses_none(whole: dict[str, Any]) -> None:
    assert list(missed(data(case(**whole)))) == []


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"finished": False, "reason": "It hangs."}, "did not finish by itself: It hangs."),
        ({"identical": False}, "differs"),
        ({"lost": 2}, "2 finished updates"),
        ({"double_counted": 1}, "counted once"),
        ({"unaccounted": 1}, "counted once"),
        ({"ledgers_verify": False}, "does not hold"),
    ],
)
def test_each_broken_promise_is_named_with_its_run(broken: dict[str, Any], word: str) -> None:
    (said,) = missed(data(case(**broken)))
    assert word in said
    assert said.startswith("Run 1 (kill -9, agent, at train): ")


def test_what_stays_behind_is_named() -> None:
    assert list(missed(data(case(), left_ports=2))) == ["2 ports stayed behind."]


def test_the_table_fits_on_eighty_columns_and_names_the_stage_and_the_verdict() -> None:
    cases = [
        case(run=60, victim="supervisor", site=None, stage_hit="committed", seconds=101.5),
        case(all_counted=False, identical=False, victim="server disk"),
        case(identical=False, lost=1),
        case(finished=False, ledgers_verify=False),
    ]
    console = Console(width=80, file=io.StringIO())
    console.print(show(data(*cases, skipped=[{"run": 5, "fault": "full", "victim": "site disk", "reason": "no root"}])))
    lines = console.file.getvalue().splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["run", "60", "1", "1", "1"]
    assert "committed 1" in lines[1]
    assert [(line.split()[-3], line.split()[-2]) for line in lines[1:3]] == [("same", "right"), ("fewer", "right")]
    assert "DIFFERS" in lines[3]
    assert "1 LOST" in lines[3]
    assert "NONE" in lines[4]
    assert "BROKEN" in lines[4]
    assert lines[-1] == "run 5 skipped (full, site disk): no root"


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_dozen_faults_of_every_kind_leave_the_study_right() -> None:
    found = run(runs=12, seed=7)
    assert list(missed(found)) == []
    assert (found["lost"], found["double_counted"], found["left_processes"], found["left_ports"]) == (0, 0, 0, 0)
    assert found["identical"] == found["all_counted"] >= 1
    assert len(found["stages_hit"]) >= 4
    assert found["runs"] + len(found["skipped"]) == 12
    assert (found["sites"], found["rounds"]) == (len(TRAIN), ROUNDS)
    assert envelope("bench.faults", Answer(found, show(found)))
