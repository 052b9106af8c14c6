"""What is offered at a site's door in the door benchmark: each attack as a pure change of an honest answer.

    extra_key         a tensor of its own
    dtype             one tensor as whole numbers
    nan               one NaN in the update
    string            a word where a figure has its place
    range             a figure that no metric reaches
    oversize          more bytes than a round may have
    wrong_contract    the contract of another study

`model_swap` is none of these: there the file changes after the door has checked it. Which rule the door
names is the door's matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.bench.attacks import Answer, Attack, State, tamper
from shared.canonical import digest
from shared.contract import Contract
from shared.update import pack
from shared.wire import Ready


@dataclass(frozen=True)
class Offer:
    """What is held out at the door: a report with a score, the packed update beside it, the contract to hold it to."""

    ready: Ready
    update: bytes
    contract: Contract

    def with_update(self, update: bytes) -> "Offer":
        """The same with other bytes, announced as they are."""
        said = {"update_digest": digest(update), "update_bytes": len(update)}
        return replace(self, ready=self.ready.model_copy(update=said), update=update)

    def with_figure(self, value: Any) -> "Offer":
        """The same with another AUROC; nothing holds it against a type here."""
        score = self.ready.scores[0].model_copy(update={"figures": {"auroc": value}})
        return replace(self, ready=self.ready.model_copy(update={"scores": (score,)}))


def _tampered(attack: Attack) -> Callable[[Offer, State], Offer]:
    """An attack on the server, at the door."""

    def change(honest: Offer, state: State) -> Offer:
        answer = Answer(honest.ready, honest.update)
        return honest.with_update(tamper(attack, answer, state=state, first=answer).update)

    return change


def _whole_numbers(honest: Offer, state: State) -> Offer:
    """The smallest tensor that is of floats, so that the update is not too large besides."""
    name = min((name for name, values in state.items() if values.dtype.kind == "f"), key=lambda name: state[name].size)
    return honest.with_update(pack(state | {name: state[name].astype(np.int64)}))


def _padded(honest: Offer, state: State) -> Offer:
    return honest.with_update(pack(state | {"padding": np.zeros(honest.contract.payload_bytes, np.float32)}))


def _another_study(honest: Offer, state: State) -> Offer:
    return replace(honest, contract=honest.contract.model_copy(update={"study": f"{honest.contract.study}-two"}))


ATTACKS: Mapping[str, Callable[[Offer, State], Offer]] = {
    "extra_key": _tampered(Attack.EXTRA),
    "dtype": _whole_numbers,
    "nan": _tampered(Attack.NAN),
    "string": lambda honest, state: honest.with_figure("patient 17"),
    "range": lambda honest, state: honest.with_figure(1.5),
    "oversize": _padded,
    "wrong_contract": _another_study,
}
