"""What the server holds of the sites' ledgers: the newest of each, the same for all messages of a round."""

import pytest

from server.cohort import MOST_SITES, choose
from server.heads import Heads
from server.history import LiveHistory
from shared.address import Address, Stage
from shared.chain import LONGEST_LINE, Tip
from shared.errors import StudyError
from shared.heads import MOST_TOLD, Head, LostTail, root_over
from shared.wire import Closed, Refused, WireCode

PLACE = Address(study="lungs", epoch=1, round=1, attempt=1, stage=Stage.CLOSE)


LOST = LostTail(since=2, entry=9, hash="a" * 64, declared="2026-01-02T03:04:05Z")


def named(n: int, letter: str = "a", *, lost: tuple[LostTail, ...] = ()) -> Closed:
    return Closed(address=PLACE, head="0" * 64, ledger=Head(n=n, hash=letter * 64), lost=lost)


def test_a_round_tells_of_what_was_noted_as_it_began() -> None:
    heads = Heads({})
    assert heads.held("north").head is None
    assert heads.hear("north", named(3))
    assert heads.held("north").head is None
    noted = heads.note(Stage.TRAIN, 1)
    assert (noted.round, noted.stage, noted.root) == (1, Stage.TRAIN, root_over(noted.heads))
    heads.hear("south", named(5))
    assert heads.held("north").proves("north")
    assert heads.held("north").root == noted.root
    assert list(heads.note(Stage.TRAIN, 2).heads) == ["north", "south"]
    assert heads.held("north").root != noted.root


def test_an_older_head_changes_nothing_and_another_one_for_the_same_entry_is_noticed() -> None:
    heads = Heads({"north": Head(n=5, hash="a" * 64)})
    assert heads.hear("north", named(4, "b"))
    assert heads.hear("north", named(5))
    assert heads.hear("north", Refused(address=PLACE, refusal=WireCode.DEVICE))
    assert not heads.hear("north", named(5, "b"))
    assert heads.note(Stage.TRAIN, 1).heads == {"north": Head(n=5, hash="a" * 64)}


# ------------------------------------------------------------ a tail that a site has lost


def test_a_declared_loss_is_written_down_and_told_to_all_and_the_shorter_ledger_is_taken() -> None:
    heads = Heads({"north": Head(n=9, hash="a" * 64), "south": Head(n=4, hash="d" * 64)})
    answer = named(5, "b", lost=(LOST,))
    (said,) = heads.declared("north", answer)
    assert (said.site, said.lost, said.held) == ("north", LOST, Head(n=9, hash="a" * 64))
    assert heads.hear("north", answer)
    assert (heads.held("south").lost, heads.held("north").head) == ({}, said.held)  # this round has begun before
    noted = heads.note(Stage.TRAIN, 2)
    assert noted.heads["north"] == answer.ledger
    assert heads.held("south").lost == heads.held("north").lost == {"north": (LOST,)}
    assert list(heads.declared("north", answer)) == []


def test_an_answer_from_before_the_loss_brings_the_lost_end_back_no_more() -> None:
    heads = Heads({"north": Head(n=9, hash="a" * 64)})
    list(heads.declared("north", named(5, "b", lost=(LOST,))))
    assert heads.hear("north", named(10, "a"))
    assert heads.note(Stage.TRAIN, 2).heads["north"] == Head(n=5, hash="b" * 64)


def test_a_head_that_the_loss_does_not_cover_is_held_on_to() -> None:
    heads = Heads({"north": Head(n=10, hash="a" * 64)})
    (said,) = heads.declared("north", named(5, "b", lost=(LOST,)))
    assert said.held == Head(n=10, hash="a" * 64)
    assert heads.note(Stage.TRAIN, 2).heads["north"] == said.held


def test_a_new_owner_of_the_study_knows_of_the_loss_by_the_journal() -> None:
    before = Heads({"north": Head(n=9, hash="a" * 64)})
    history = LiveHistory.replay([before.note(Stage.TRAIN, 1), *before.declared("north", named(5, "b", lost=(LOST,)))])
    after = Heads(history.heads, history.lost)
    assert (after.held("north").head, after.held("north").lost) == (None, {"north": (LOST,)})
    assert list(after.declared("north", named(6, "b", lost=(LOST,)))) == []
    assert after.note(Stage.TRAIN, 2).heads == {}


def test_of_very_many_losses_those_declared_last_are_told() -> None:
    times = [f"2026-01-02T{n // 60:02}:{n % 60:02}:00Z" for n in range(MOST_TOLD + 9)]
    lost = {f"site-{n}": (LOST.model_copy(update={"declared": time}),) for n, time in enumerate(times)}
    held = Heads({"north": Head(n=9, hash="a" * 64)}, lost).held("north")
    assert list(held.lost) == [f"site-{n}" for n in range(9, MOST_TOLD + 9)]


@pytest.mark.parametrize("sites", [500, MOST_SITES])
def test_the_heads_of_so_many_sites_fit_an_entry_and_the_tree_is_built_once(sites: int) -> None:
    known = {f"{n:0>48}": Head(n=2**40, hash=f"{n:064x}") for n in range(sites)}
    heads = Heads(known)
    noted = heads.note(Stage.TRAIN, 1)
    line = Tip().next_line(noted.entry_type(), noted.model_dump(mode="json"), time="2026-01-02T03:04:05.000000Z")
    assert len(line) < LONGEST_LINE
    assert heads.held(min(known)).proves(min(known)) and heads.held(max(known)).proves(max(known))
    with pytest.raises(StudyError, match="may ask 5,000"):
        choose([*map(str, range(MOST_SITES + 1))], (), quorum=2)
