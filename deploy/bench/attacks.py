"""What a hostile site sends in the admission benchmark: each attack as a pure change of an honest answer.

    nan             one NaN in the update
    shape           a tensor laid flat
    missing         a tensor left out
    extra           a tensor of its own
    negative_count  less than no examples
    norm            the honest change, a thousand times over
    replay          the bytes that counted in the first round, announced for this one
    foreign_round   the signed answer of the first round, as it was
    bad_signature   an honest answer under a key that is not on the roster

Which reason an attack must be refused for stands beside it; that it is refused is the server's matter.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from server.claim import AdmissionReason
from shared.canonical import digest
from shared.update import pack
from shared.wire import Ready

State = dict[str, np.ndarray[Any, np.dtype[Any]]]
ATTACK_IN = 2  # by then the server knows what a norm and a replay are
_PREFIX = "attack-"


class Attack(StrEnum):
    """The cases of the benchmark."""

    NAN = "nan"
    SHAPE = "shape"
    MISSING = "missing"
    EXTRA = "extra"
    NEGATIVE_COUNT = "negative_count"
    NORM = "norm"
    REPLAY = "replay"
    FOREIGN_ROUND = "foreign_round"
    BAD_SIGNATURE = "bad_signature"

    @property
    def study(self) -> str:
        """The name of the study in which it is tried."""
        return _PREFIX + self.value.replace("_", "-")

    @property
    def reason(self) -> AdmissionReason:
        """What it must be refused for."""
        return _REASONS[self]


_REASONS = {
    Attack.NAN: AdmissionReason.NOT_FINITE,
    Attack.SHAPE: AdmissionReason.SHAPE,
    Attack.MISSING: AdmissionReason.MISSING_KEY,
    Attack.EXTRA: AdmissionReason.EXTRA_KEY,
    Attack.NEGATIVE_COUNT: AdmissionReason.NEGATIVE_COUNT,
    Attack.NORM: AdmissionReason.NORM,
    Attack.REPLAY: AdmissionReason.REPLAY,
    Attack.FOREIGN_ROUND: AdmissionReason.FOREIGN_ROUND,
    Attack.BAD_SIGNATURE: AdmissionReason.BAD_SIGNATURE,
}


def attack_of(study: str) -> Attack | None:
    """The attack that a study is for, if it is for one."""
    return next((attack for attack in Attack if attack.study == study), None)


@dataclass(frozen=True)
class Answer:
    """What a site is about to say of a round: the body, and the packed update that goes with it."""

    ready: Ready
    update: bytes


def tamper(attack: Attack, honest: Answer, *, state: State, first: Answer) -> Answer:
    """The hostile answer; unsigned, for signing and sending are the attacker's.

    Args:
        attack: which one.
        honest: what the site's own work came to.
        state: the honest update, by tensor.
        first: what counted in the first round.
    """
    if attack in _STATES:
        return _announced(honest, pack(_STATES[attack](state)))
    if attack is Attack.NEGATIVE_COUNT:
        counts = honest.ready.counts.model_copy(update={"examples": -honest.ready.counts.examples})
        return Answer(honest.ready.model_copy(update={"counts": counts}), honest.update)
    if attack is Attack.REPLAY:
        return _announced(honest, first.update)
    return first if attack is Attack.FOREIGN_ROUND else honest


def _announced(honest: Answer, update: bytes) -> Answer:
    said = {"update_digest": digest(update), "update_bytes": len(update)}
    return Answer(honest.ready.model_copy(update=said), update)


def _with_nan(state: State) -> State:
    name = _largest(state)
    spoilt = state[name].copy()
    spoilt.reshape(-1)[0] = np.nan
    return state | {name: spoilt}


def _laid_flat(state: State) -> State:
    name = _largest(state)
    return state | {name: state[name].reshape(-1)}


def _left_out(state: State) -> State:
    return {name: values for name, values in state.items() if name != _largest(state)}


def _with_own(state: State) -> State:
    return state | {"own": np.zeros(1, np.float32)}


def _magnified(state: State) -> State:
    return {name: values * 1000 if values.dtype.kind == "f" else values for name, values in state.items()}


def _largest(state: State) -> str:
    """The floating-point tensor with the most elements; in any model of ours it has two axes or more."""
    return max((name for name, values in state.items() if values.dtype.kind == "f"), key=lambda name: state[name].size)


_STATES: Mapping[Attack, Callable[[State], State]] = {
    Attack.NAN: _with_nan,
    Attack.SHAPE: _laid_flat,
    Attack.MISSING: _left_out,
    Attack.EXTRA: _with_own,
    Attack.NORM: _magnified,
}
