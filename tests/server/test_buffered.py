"""Buffered rounds: closed by the first, moved by all, and the same after a crash."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_ward import EXAMPLES, SITES, PowerCut, Reply, Ward, change, ready, trained

from server.cohort import choose
from server.journal import read_history, read_records
from server.lateness import slots_for
from server.records import UpdateAdmitted
from shared.address import Stage
from shared.clock import utc_now
from shared.errors import StudyError
from shared.schedule import RoundsSpec
from shared.wire import Late, Open, Work

ROUNDS = {"count": 5, "buffer": 2, "quorum": 1}
FAST = ("east", "north")
ADMISSION = {"norm_factor": 1e3}  # south's updates are larger than east's


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


class Slow:
    """South takes as long as `rounds` say: the work that it was given in a round is the answer to a later one.

    Args:
        rounds: by round, in which round the work for it is done; others are not answered.
        fast: who answers at once.
    """

    def __init__(self, rounds: dict[int, int], *, fast: tuple[str, ...] = FAST) -> None:
        self.begun = {done: begun for begun, done in rounds.items()}
        self.fast = fast
        self.asked: dict[int, Work] = {}

    def __call__(self, site: str, message: Any) -> Reply:
        if not isinstance(message, Work) or message.address.stage is not Stage.TRAIN:
            return None
        if site != "south":
            return trained(site, message) if site in self.fast else None
        number = message.address.round
        self.asked.setdefault(number, message)
        if number not in self.begun:
            return None
        first = self.asked[self.begun[number]]
        if first.address.round == number:
            return trained(site, message)
        update = change(site, first.address.round)
        late = Late(round=first.address.round, model_digest=first.model_digest)
        return ready(message, update, examples=EXAMPLES[site], late=late), update


def move(*updates: tuple[str, int, int]) -> float:
    """How far FedBuff goes: (site, round of its work, rounds late); Nguyen et al. 2022, Algorithm 1, by examples."""
    weights = np.array([EXAMPLES[site] for site, _, _ in updates], float)
    values = np.array([0.1 * number + SITES.index(site) for site, number, _ in updates], float)  # as `change` says
    discounts = np.array([(1 + age) ** -0.5 for _, _, age in updates])
    return float(weights @ (discounts * values) / weights.sum())


def test_rounds_close_without_the_slow_site_and_its_work_moves_the_model_by_less(ward: Ward) -> None:
    done = ward.run(Slow({1: 4, 5: 5}), rounds=ROUNDS)
    commits = done.history.commits
    assert [commit.counted for commit in commits] == [FAST, FAST, FAST, (*FAST, "south"), (*FAST, "south")]
    assert [commit.late for commit in commits] == [{"south": "asked"}] * 3 + [{}] * 2
    start = sum(move(("east", n, 0), ("north", n, 0)) for n in (1, 2, 3))
    fourth = start + move(("east", 4, 0), ("north", 4, 0), ("south", 1, 3))
    assert done.model(4)[0] == pytest.approx(fourth, rel=1e-6)
    assert done.model(5)[0] == pytest.approx(fourth + move(*((site, 5, 0) for site in (*FAST, "south"))), rel=1e-6)


def test_with_a_buffer_of_one_the_discount_does_not_cancel_out(ward: Ward) -> None:
    class OneByOne(Slow):
        def __call__(self, site: str, message: Any) -> Reply:
            reply = super().__call__(site, message)
            return reply if site == "south" or message.address.round == 1 else None

    script = OneByOne({1: 2}, fast=("east",))
    done = ward.run(script, rounds={"count": 2, "buffer": 1}, admission=ADMISSION)
    assert [commit.counted for commit in done.history.commits] == [("east",), ("south",)]
    (late,) = [update for update in done.history.readies if update.late_from]
    assert (late.site, late.round, late.late_from) == ("south", 2, 1)
    assert done.model(2)[0] - done.model(1)[0] == pytest.approx(move(("south", 1, 1)), rel=1e-5)


def test_the_slow_site_is_asked_without_a_slot_and_told_of_its_lateness(ward: Ward) -> None:
    done = ward.run(Slow({1: 4}), rounds=ROUNDS | {"count": 4})
    works = done.works("south")
    assert [work.address.round for work in works] == [1, 2, 3, 4]
    assert [bool(work.slot_bytes) for work in works] == [True, False, False, False]
    told = [[(receipt.round, receipt.outcome) for receipt in work.receipts] for work in works]
    assert told == [[], [(1, "late")], [(2, "late")], [(3, "late")]]


def test_finished_late_work_goes_before_all_others_and_work_in_hand_after(ward: Ward) -> None:
    done = ward.run(Slow({1: 3}), rounds=ROUNDS | {"count": 3})
    rounds = RoundsSpec(buffer=2)
    assert slots_for(SITES, done.history, rounds) == SITES
    unfinished = ward.run(Slow({}), name="unfinished", rounds=ROUNDS | {"count": 3}).history
    assert slots_for(SITES, unfinished, rounds) == FAST
    unfinished.announced["south"] = done.history.announced["south"].model_copy(update={"round": 2})
    assert slots_for(SITES, unfinished, rounds) == ("south", *FAST)


# ------------------------------------------------------------ crashes


class Crash:
    """The study's process dies when the first question of a round is withdrawn: closed, but not committed."""

    def __init__(self, *, after: int) -> None:
        self.after = after
        self.closed = 0

    def __call__(self) -> None:
        self.closed += 1
        if self.closed == self.after:
            raise PowerCut


def test_a_server_that_dies_before_the_commit_commits_the_same_whoever_is_first_then(ward: Ward) -> None:
    slow = {1: 3}
    undisturbed = ward.run(Slow(slow), name="undisturbed", rounds=ROUNDS).history
    script = Slow(slow)
    cut = ward.run(script, name="cut", closed=Crash(after=2), rounds=ROUNDS).history
    assert (cut.last_round, set(cut.pending)) == (1, set(FAST))
    script.fast = ()  # for the rest of the round nobody but south would answer
    asked = []

    def resumed(site: str, message: Any) -> Reply:
        asked.append((site, message.address.round))
        script.fast = FAST
        return script(site, message)

    done = ward.run(resumed, name="cut", rounds=ROUNDS)
    history = done.history
    assert [commit.counted for commit in history.commits] == [commit.counted for commit in undisturbed.commits]
    assert (history.model_digest, history.epoch) == (undisturbed.model_digest, 2)
    assert all((site, 2) not in asked for site in FAST)


def test_a_second_crash_while_updates_are_admitted_again_loses_none(ward: Ward) -> None:
    slow = {1: 3}
    undisturbed = ward.run(Slow(slow), name="undisturbed", rounds=ROUNDS).history
    script = Slow(slow)
    ward.run(script, name="cut", closed=Crash(after=2), rounds=ROUNDS)
    journal = ward.root / "studies" / "cut" / "journal.jsonl"

    def dying() -> str:
        last = [record for _, record in read_records(journal)][-1]
        if isinstance(last, UpdateAdmitted) and (last.round, read_history(journal).epoch) == (2, 2):
            raise PowerCut
        return utc_now()

    again = ward.run(script, name="cut", clock=dying, rounds=ROUNDS).history
    assert (again.last_round, again.epoch, set(again.pending)) == (1, 2, {"east"})
    script.fast = ()  # for the rest of the round nobody but south would answer
    asked = []

    def resumed(site: str, message: Any) -> Reply:
        asked.append((site, message.address.round))
        script.fast = FAST
        return script(site, message)

    history = ward.run(resumed, name="cut", rounds=ROUNDS).history
    assert [commit.counted for commit in history.commits] == [commit.counted for commit in undisturbed.commits]
    assert (history.model_digest, history.epoch) == (undisturbed.model_digest, 3)
    assert all((site, 2) not in asked for site in FAST)


def test_late_work_that_was_admitted_before_a_crash_keeps_its_discount(ward: Ward) -> None:
    """North is silent: rounds close at their deadline, with east alone at first."""
    how: dict[str, Any] = {"rounds": {"count": 2, "buffer": 2, "deadline_s": 1.5}, "admission": ADMISSION}
    undisturbed = ward.run(Slow({1: 2}, fast=("east",)), name="undisturbed", **how).history
    script = Slow({1: 2}, fast=("east",))
    cut = ward.run(script, name="cut", closed=Crash(after=3), **how).history
    assert (cut.last_round, set(cut.pending)) == (1, {"east", "south"})
    resumed = ward.run(script, name="cut", **how).history
    assert resumed.commits[1].counted == ("east", "south")
    assert resumed.model_digest == undisturbed.model_digest


def test_a_site_that_worked_when_the_server_died_is_not_forgotten(ward: Ward) -> None:
    """Round 1 is committed from the spool before south is asked anew; what it works on counts all the same."""
    script = Slow({1: 3})
    ward.run(script, name="cut", closed=Crash(after=1), rounds=ROUNDS)
    history = ward.run(script, name="cut", rounds=ROUNDS).history
    assert history.commits[0].absent == {"south": "line_lost"}
    assert history.commits[2].counted == (*FAST, "south")
    (late,) = [update for update in history.readies if update.late_from]
    assert (late.round, late.late_from) == (3, 1)


# ------------------------------------------------------------ the cohort


def test_a_buffer_that_can_never_be_full_is_refused_at_the_launch() -> None:
    assert choose(("a", "b"), (), quorum=1, buffer=2) == ("a", "b")
    with pytest.raises(StudyError, match="closes with 3 sites, but only 2") as refused:
        choose(("a", "b"), (), quorum=1, buffer=3)
    assert "rounds.buffer" in refused.value.remedy


def test_each_admission_says_its_discount(ward: Ward) -> None:
    done = ward.run(Slow({1: 4}), rounds=ROUNDS | {"count": 4})
    said = [r for r in done.records() if isinstance(r, UpdateAdmitted) and r.site == "south"]
    assert [(r.round, r.late_from, r.discount) for r in said] == [(4, 1, 0.5)]


def test_a_site_that_opens_more_slowly_than_rounds_pass_takes_part_all_the_same(ward: Ward) -> None:
    """It is asked once to open the study, and its answer is taken three rounds later."""
    ward.opens_late = {"south": 3}
    done = ward.run(Slow({3: 3, 4: 4, 5: 5}), rounds=ROUNDS)
    asked = [message.address.round for site, message in done.line.sent if site == "south" and isinstance(message, Open)]
    assert asked == [0]
    assert [set(commit.counted) for commit in done.history.commits[:2]] == [set(FAST)] * 2
    assert any("south" in commit.counted for commit in done.history.commits[2:])
