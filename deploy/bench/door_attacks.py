"""What is offered at a site's door in the door benchmark: each attack as a pure change of an honest answer.

    extra_key         a tensor of its own
    dtype             one tensor as whole numbers
    nan               one NaN in the update
    string            a word where a figure has its place
    range             a figure that no metric reaches
    oversize          more bytes than a round may have
    wrong_contract    the contract of another study
    expired_contract  the agreed contract, whose end has passed

Two are none of these: in `model_swap` the file changes after the door has checked it, and `batch_of_one` is a study
that the coordinator asks for, whose steps see one image. Which rule the site names is the site's matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from deploy.bench.attacks import Answer, Attack, State, tamper
from shared.address import Address, Stage
from shared.canonical import digest
from shared.contract import Contract
from shared.update import pack
from shared.wire import Open, Ready, Work

ONE_IMAGE = "one-image-a-step"


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


def _expired(honest: Offer, state: State) -> Offer:
    assert honest.contract.terms is not None
    terms = honest.contract.terms.model_copy(update={"expires": "2020-01-31T12:00:00Z"})
    return replace(honest, contract=honest.contract.under(terms))


def batch_of_one(opening: Open, *, address: Callable[[Stage, int], Address]) -> tuple[Open, Work]:
    """What a coordinator would ask for instead of an opened study: its like under another name, one image a step.

    Args:
        opening: of the study that is open.
        address: of a message of the other study.
    """
    asked = opening.study
    training = asked.training.model_copy(update={"batch_size": 1}) if asked.training else None
    named = asked.study.model_copy(update={"name": ONE_IMAGE})
    study = asked.model_copy(update={"study": named, "training": training})
    work = Work(
        address=address(Stage.TRAIN, 1),
        study_digest=study.digest(),
        model_digest="0" * 64,
        previous_digest=None,
        payload_bytes=0,
        slot_bytes=2**30,
    )
    return opening.model_copy(update={"address": address(Stage.OPEN, 0), "study": study}), work


ATTACKS: Mapping[str, Callable[[Offer, State], Offer]] = {
    "extra_key": _tampered(Attack.EXTRA),
    "dtype": _whole_numbers,
    "nan": _tampered(Attack.NAN),
    "string": lambda honest, state: honest.with_figure("patient 17"),
    "range": lambda honest, state: honest.with_figure(1.5),
    "oversize": _padded,
    "wrong_contract": _another_study,
    "expired_contract": _expired,
}
