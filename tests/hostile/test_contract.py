"""Reports and updates that differ from what was agreed, at the door that they would have to pass."""

from pathlib import Path

import numpy as np
from lone_site import COUNTS, TENSORS, UPDATE, a_study
from mutations import OF_TEXT, OF_VALUES, Input, changed, judge, sizes
from safetensors import SafetensorError
from safetensors.numpy import load

from client.contract import check_release
from shared.address import Address, Stage
from shared.canonical import digest
from shared.contract import contract_of
from shared.errors import Refusal, TrustError, WireCode
from shared.metrics import MetricRule, Score
from shared.wire import Ready, decode_to_server, encode

MODEL = "a" * 64
STUDY = a_study()
METRICS = (
    MetricRule(name="confusion", kind="statistic", length=4, low=0, high=2**40, group=4),
    MetricRule(name="auroc", kind="figure", low=0, high=1),
)
CONTRACT = contract_of(STUDY, TENSORS, site="north").model_copy(update={"metrics": METRICS})


def report(stage: Stage, number: int, update: bytes | None, *splits: str) -> Ready:
    return Ready(
        address=Address(study=STUDY.name, epoch=1, round=number, attempt=1, stage=stage),
        model_digest=MODEL,
        update_digest=digest(update) if update is not None else None,
        update_bytes=len(update or b""),
        uploaded=update is not None,
        replayed=False,
        counts=COUNTS,
        scores=tuple(
            Score(model_digest=MODEL, split=split, patients=4, statistics={"confusion": (1,) * 4}, figures={"auroc": 1})
            for split in splits
        ),
        seconds={"train": 0.5},
    )


TRAINED = report(Stage.TRAIN, 2, UPDATE, "validation")
SCORED = report(Stage.EVALUATE, 3, None, "validation", "test")


def leaves(message: Ready, payload: Path | None) -> bool:
    """Whether the door lets it out; it may do nothing else but refuse."""
    try:
        check_release(CONTRACT, message, payload)
    except Refusal as refusal:
        assert refusal.wire_code is WireCode.CONTRACT
        return False
    return True


def agreed(said: Ready) -> bool:
    """Written once more, from what the documents promise: what of a report may be other than it was."""
    place = (said.address.stage, said.address.round)
    splits = [*(score.split for score in said.scores), *said.withheld]
    return (
        said.address.study == STUDY.name
        and place in ((Stage.TRAIN, 1), (Stage.TRAIN, 2), (Stage.EVALUATE, 3))
        and (said.update_digest is None or place[0] is Stage.TRAIN)
        and len(set(splits)) == len(splits)
        and ("test" not in splits or place[0] is Stage.EVALUATE)
        and (said.late is None or (not splits and 1 <= said.late.round < place[1]))
        and all(score.model_digest == said.model_digest for score in said.scores)
        and all(not score.statistics or list(score.statistics) == ["confusion"] for score in said.scores)
        and all(len(score.statistics["confusion"]) == 4 for score in said.scores if score.statistics)
        and all(sum(score.statistics["confusion"]) == score.patients for score in said.scores if score.statistics)
        and all(set(score.figures) <= {"auroc"} for score in said.scores)
        and all(0 <= figure <= 1 for score in said.scores for figure in score.figures.values())
    )


@sizes
def test_of_a_changed_report_nothing_leaves_that_was_not_agreed(inputs: int, tmp_path: Path) -> None:
    bodies, came_out = [encode(TRAINED), encode(SCORED)], []
    payload = tmp_path / "update"
    payload.write_bytes(UPDATE)

    def check(given: Input) -> None:
        try:
            said = decode_to_server(changed(bodies[given.pick % 2], given.todo))
        except TrustError:
            return  # no message that a site can say
        if isinstance(said, Ready):
            trained = said.update_digest == digest(UPDATE) and said.update_bytes == len(UPDATE)
            came_out.append(leaves(said, payload if given.pick % 2 == 0 else None))
            assert not came_out[-1] or (agreed(said) and (given.pick % 2 or trained))

    judge(check, inputs=inputs // 2, kinds=tuple(OF_VALUES))
    assert {True, False} == set(came_out)


def sound(update: bytes) -> bool:
    """Whether another reader finds the agreed tensors in it, all finite."""
    try:
        found = load(update)
    except (SafetensorError, KeyError, ValueError):
        return False
    table = {name: (str(values.dtype), values.shape) for name, values in found.items()}
    return table == {"w": ("float32", (2, 3)), "n": ("int64", ())} and bool(np.isfinite(found["w"]).all())


@sizes
def test_of_a_changed_update_nothing_leaves_but_the_agreed_tensors(inputs: int, tmp_path: Path) -> None:
    payload, came_out = tmp_path / "update", []

    def check(given: Input) -> None:
        update = changed(UPDATE, given.todo)
        payload.write_bytes(update)
        announced = TRAINED.model_copy(update={"update_digest": digest(update), "update_bytes": len(update)})
        came_out.append(leaves(announced, payload))
        assert not came_out[-1] or sound(update)
        assert leaves(TRAINED, payload) is (update == UPDATE)

    judge(check, inputs=inputs // 2, kinds=tuple(OF_TEXT))
    assert {True, False} == set(came_out)
