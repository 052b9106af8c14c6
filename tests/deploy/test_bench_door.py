"""The door benchmark: each attack is what it says, a bypass is found where one is, and the promise holds."""

from pathlib import Path
from typing import Any

import pytest
from lone_site import COUNTS, TERMS, UPDATE, LoneSite, a_score

from deploy.bench.bypass import planted_bypass_caught
from deploy.bench.door import missed, run, show, worst
from deploy.bench.door_attacks import ATTACKS, ONE_IMAGE, Offer, batch_of_one
from shared.address import Address, Stage
from shared.canonical import digest
from shared.console import Answer, envelope
from shared.contract import derive_contract
from shared.errors import Refusal, WireCode
from shared.update import PackedFile
from shared.wire import Ready

CASES = {
    "extra_key": "the update's tensors are not the agreed ones",
    "dtype": "the update's tensors are not the agreed ones",
    "nan": "is not finite",
    "string": "its type does not allow",
    "range": "the figure auroc is not as agreed",
    "oversize": "the update is larger than agreed",
    "wrong_contract": "the message belongs to another study",
    "expired_contract": "the contract ended on 2020-01-31T12:00:00Z",
    "model_swap": "An update changed after it was released.",
    "batch_of_one": "policy.batch_size_at_least = 2; the study asks for 1.",
}
CASE: dict[str, Any] = {"case": "nan", "refused": True, "rule": "no", "in_ledger": True, "left_bytes": 0}
GOOD: dict[str, Any] = {
    "cases": [CASE],
    "honest_left_bytes": 1001,
    "honest_update_bytes": 1000,
    "planted_bypass_caught": True,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_each_attack_is_refused_for_what_it_is(name: str, tmp_path: Path) -> None:
    lone = LoneSite(tmp_path)
    contract = derive_contract(lone.coordinator.open(), site="north").under(TERMS)
    ready = Ready(
        address=lone.coordinator.address(Stage.TRAIN, 1),
        model_digest="a" * 64,
        update_digest=digest(UPDATE),
        update_bytes=len(UPDATE),
        uploaded=True,
        replayed=False,
        counts=COUNTS,
        scores=(a_score(lone.coordinator.study, "a" * 64),),
        seconds={},
    )
    (tmp_path / "update").write_bytes(UPDATE)
    state = dict(PackedFile(tmp_path / "update").items())
    offer = ATTACKS[name](Offer(ready, UPDATE, contract), state)
    (tmp_path / "update").write_bytes(offer.update)
    with pytest.raises(Refusal) as caught:
        lone.site.egress.release(offer.ready, contract=offer.contract, payload=tmp_path / "update")
    assert CASES[name] in caught.value.remedy
    assert (ready.update_digest, lone.line.sent) == (digest(UPDATE), [])
    lone.close()


def test_a_batch_of_one_is_refused_by_the_floor_before_anything_is_done(tmp_path: Path) -> None:
    lone = LoneSite(tmp_path)

    def address(stage: Stage, number: int) -> Address:
        return lone.coordinator.address(stage, number).model_copy(update={"study": ONE_IMAGE})

    for message in batch_of_one(lone.coordinator.open(), address=address):
        lone.tell(message)
    assert [(said.refusal, said.rule) for said in lone.answers] == [
        (WireCode.POLICY, "batch_size_at_least"),
        (WireCode.UNKNOWN_STUDY, None),
    ]
    assert CASES["batch_of_one"] in lone.said[0] and not lone.hands.jobs and not lone.uploads
    lone.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_nothing_leaves_by_the_door_but_the_honest_answer() -> None:
    found = run()
    assert list(missed(found)) == []
    said = {case["case"]: case["rule"] for case in found["cases"]}
    assert said.keys() == CASES.keys()
    assert [name for name, words in CASES.items() if words not in said[name]] == []
    assert (found["left_bytes"], found["planted_bypass_caught"]) == (0, True)
    assert found["honest_left_bytes"] > found["honest_update_bytes"] > 0
    assert envelope("bench.door", Answer(found, show(found)))


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        ({"cases": [CASE | {"refused": False}]}, "left"),
        ({"cases": [CASE | {"left_bytes": 7}]}, "7 bytes left"),
        ({"cases": [CASE | {"in_ledger": False}]}, "ledger"),
        ({"honest_left_bytes": 1000}, "honest"),
        ({"planted_bypass_caught": False}, "not caught"),
        ({"planted_bypass_caught": None}, "not shown"),
    ],
)
def test_every_broken_promise_is_named(broken: dict[str, Any], word: str) -> None:
    assert list(missed(GOOD)) == []
    (only,) = missed(GOOD | broken)
    assert word in only


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("broken", "word"), [({"left_bytes": 7}, "7 bytes"), ({"in_ledger": False}, "ledger")])
def test_what_one_try_alone_breaks_is_broken(first: bool, broken: dict[str, Any], word: str) -> None:
    tries = [CASE | broken, CASE] if first else [CASE, CASE | broken]
    assert list(missed(GOOD | {"cases": [worst("nan", [CASE, CASE])]})) == []
    (only,) = missed(GOOD | {"cases": [worst("nan", tries)]})
    assert word in only


def tree(root: Path, walls: str | None) -> Path:
    """A tree of empty packages, with these walls or none."""
    for package in ("shared", "server", "client", "deploy", "tests"):
        (root / package).mkdir()
    if walls is not None:
        (root / "tests/architecture.py").write_text(walls)
    return root


def test_without_walls_nothing_is_shown(tmp_path: Path) -> None:
    assert planted_bypass_caught(tree(tmp_path, None)) is None


@pytest.mark.parametrize("walls", ["", "print('client/planted.py:5 sends', 'client/agent.py:1 sends', sep='\\n')"])
def test_walls_that_find_nothing_or_everything_catch_nothing(tmp_path: Path, walls: str) -> None:
    assert planted_bypass_caught(tree(tmp_path, walls)) is False
