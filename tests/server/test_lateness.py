"""Late work counts once, for less, and only for a round in which its site was late."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scripted_ward import SITES, PowerCut, Reply, Ward, change, ready, trained

from server.history import LiveHistory
from server.lateness import cut_off, discount, norms_for, owed
from server.norms import NormHistory
from server.records import RoundCommitted
from shared.address import Stage
from shared.schedule import RoundsSpec
from shared.wire import Grant, Late, Work

NEXT = RoundsSpec(late="next")


def digest(number: int) -> str:
    return f"{number:064x}"


def history(*commits: dict[str, Any]) -> LiveHistory:
    """Rounds in which `north` was what is said."""
    told = LiveHistory()
    for number, said in enumerate(commits, 1):
        fields = {"round": number, "epoch": 1, "model_digest": digest(number), "previous_digest": digest(number - 1)}
        told.commits.append(RoundCommitted.model_validate({**fields, "counted": ("south",), **said}))
    return told


LATE, AWAY = {"late": {"north": "asked"}}, {"absent": {"north": "waiting"}}


def test_the_discount_is_that_of_fedbuff_unless_another_is_given() -> None:
    assert [discount(staleness=s, exponent=0.5) for s in (0, 1, 3, 8)] == pytest.approx([1, 2**-0.5, 1 / 2, 1 / 3])
    assert [discount(staleness=s, exponent=0.0) for s in (0, 7)] == [1, 1]
    with pytest.raises(ValueError, match="newer"):
        discount(staleness=-1, exponent=0.5)


def test_the_rounds_since_the_site_last_counted_are_owed() -> None:
    assert owed("north", history(LATE, AWAY, LATE), NEXT) == {1: digest(0), 3: digest(2)}
    assert owed("north", history(LATE, {"counted": ("north",)}, LATE), NEXT) == {3: digest(2)}
    assert owed("north", history(LATE, {"refused": {"north": "norm"}}), NEXT) == {}
    assert owed("north", history(AWAY), NEXT) == {}


def test_nothing_is_owed_where_late_work_is_dropped() -> None:
    assert owed("north", history(LATE), RoundsSpec(late="drop")) == {}


def test_what_was_announced_before_the_round_was_opened_again_is_owed_too() -> None:
    told = history(AWAY)
    told.worked["north"] = (1, digest(9))
    assert owed("north", told, NEXT) == {1: digest(0)}


def test_late_work_is_held_against_the_updates_that_it_was_made_with() -> None:
    told = history(*[LATE] * 9)
    told.norms_of = [(8.0,), (4.0,), (2.0,), (1.0,), (0.5,), (0.25,), (0.2,), (0.1,), (0.1,)]
    told.norms = NormHistory(rounds=tuple(told.norms_of[-3:]))
    assert norms_for(None, told) == told.norms
    assert norms_for(Late(round=1, model_digest=digest(0)), told).rounds == ((8.0,),)
    assert norms_for(Late(round=5, model_digest=digest(4)), told).rounds == ((2.0,), (1.0,), (0.5,))
    told.norms = NormHistory(rounds=((9.0,),))
    assert norms_for(Late(round=5, model_digest=digest(4)), told) == told.norms


def test_whose_upload_the_last_round_cut_off_is_known() -> None:
    cut = {"late": {"north": "granted", "south": "ready"}}
    assert cut_off(history()) == frozenset()
    assert cut_off(history(cut)) == {"north"}
    assert cut_off(history(cut, LATE)) == frozenset()


def test_a_line_that_was_lost_leaves_the_work_owed() -> None:
    assert owed("north", history({"absent": {"north": "line_lost"}}), NEXT) == {1: digest(0)}


# ------------------------------------------------------------ a whole study


ROUNDS = {"count": 3, "quorum": 2, "grace_s": 0.2, "late": "next"}


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def late_answer(work: Work, first: Work) -> Reply:
    """South's update of the round that `first` asked for, as the answer to `work`."""
    update = change("south", first.address.round)
    late = Late(round=first.address.round, model_digest=first.model_digest)
    return ready(work, update, examples=5, late=late), update


def south_is_late(site: str, message: Any, asked: dict[int, Work], *, again: bool = False) -> Reply:
    """South misses round 1 and gives that work in round 2, or `again` in round 3, too."""
    if not isinstance(message, Work) or message.address.stage is not Stage.TRAIN:
        return None
    number = message.address.round
    if site != "south":
        return trained(site, message)
    asked.setdefault(number, message)
    if number == 1:
        return None
    return late_answer(message, asked[1]) if number == 2 or again else trained(site, message)


def test_late_work_moves_the_next_model_by_its_discounted_weight(ward: Ward) -> None:
    asked: dict[int, Work] = {}
    done = ward.run(lambda site, message: south_is_late(site, message, asked), rounds=ROUNDS)
    history = done.history
    assert [commit.counted for commit in history.commits] == [("east", "north"), SITES, SITES]
    assert history.commits[0].late == {"south": "asked"}
    weights, changes = np.array([1, 2, 5 * 2**-0.5]), np.array([0.2, 1.2, 2.1])
    np.testing.assert_allclose(done.model(2) - (0.1 + 2 * 1.1) / 3, weights @ changes / weights.sum(), rtol=1e-6)
    assert [(r.round, r.late_from) for r in history.readies if r.site == "south"] == [(2, 1), (3, None)]
    (told,) = [receipt for work in done.works("south")[1:2] for receipt in work.receipts]
    assert (told.round, told.outcome) == (1, "late")


def test_late_work_counts_once(ward: Ward) -> None:
    asked: dict[int, Work] = {}
    done = ward.run(lambda site, message: south_is_late(site, message, asked, again=True), rounds=ROUNDS)
    assert done.history.commits[2].refused == {"south": "foreign_round"}


def test_the_same_bytes_do_not_count_a_second_time_as_new_work(ward: Ward) -> None:
    asked: dict[int, Work] = {}

    def script(site: str, message: Any) -> Reply:
        reply = south_is_late(site, message, asked)
        if site == "south" and reply is not None and message.address.round == 3:
            update = change("south", 1)
            return ready(message, update, examples=5), update
        return reply

    assert ward.run(script, rounds=ROUNDS).history.commits[2].refused == {"south": "replay"}


def test_late_work_of_another_model_is_refused(ward: Ward) -> None:
    asked: dict[int, Work] = {}

    def script(site: str, message: Any) -> Reply:
        reply = south_is_late(site, message, asked)
        if site == "south" and reply is not None and message.address.round == 2:
            update = change("south", 1)
            return ready(message, update, examples=5, late=Late(round=1, model_digest=digest(7))), update
        return reply

    assert ward.run(script, rounds=ROUNDS).history.commits[1].refused == {"south": "foreign_round"}


def test_a_server_that_dies_over_late_work_ends_with_the_same_model(ward: Ward) -> None:
    asked: dict[int, Work] = {}

    def calm(site: str, message: Any) -> Reply:
        return south_is_late(site, message, asked)

    def cut(site: str, message: Any) -> Reply:
        """North asks for its slot in round 2; when it is granted, south's late update has been admitted."""
        if isinstance(message, Grant):
            raise PowerCut
        reply = calm(site, message)
        second = site == "north" and isinstance(reply, tuple) and reply[0].address.round == 2
        return reply[0].model_copy(update={"uploaded": False}) if second else reply

    undisturbed = ward.run(calm, name="undisturbed", rounds=ROUNDS).history
    asked.clear()
    assert set(ward.run(cut, name="cut", rounds=ROUNDS).history.pending) == {"east", "south"}
    resumed = ward.run(calm, name="cut", rounds=ROUNDS).history
    assert [commit.counted for commit in resumed.commits] == [commit.counted for commit in undisturbed.commits]
    assert (resumed.model_digest, resumed.epoch) == (undisturbed.model_digest, 2)
