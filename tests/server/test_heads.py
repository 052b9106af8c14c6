"""What the server holds of the sites' ledgers: the newest of each, the same for all messages of a round."""

from server.heads import Heads
from shared.heads import Head, root_over
from shared.wire import Address, Closed, Refused, Stage, WireCode

PLACE = Address(study="lungs", epoch=1, round=1, attempt=1, stage=Stage.CLOSE)


def named(n: int, letter: str = "a") -> Closed:
    return Closed(address=PLACE, head="0" * 64, ledger=Head(n=n, hash=letter * 64))


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
