"""The site's side of a study's method: what it makes of the global model, and what it keeps for itself.

A method is pure. A round begins with what came in and what the site kept from the last round of its
that counted (nothing, before the first), and ends with a change, which is released, and with what is
kept for the next round, which never leaves. How the weights are trained in between is
`client/work/train.py`'s matter; what travels, `shared/methods.py`'s.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from client.work.change import Change, change_of
from shared.training import TrainingSpec
from shared.update import CONTROL, Array

State = Mapping[str, Array]


class Method(Protocol):
    """What differs between the methods of `TrainingSpec.algorithm` at a site."""

    def begin(self, incoming: State, kept: State) -> dict[str, np.ndarray]:
        """The whole state of the model to train or score."""
        ...

    def correction(self, incoming: State, kept: State) -> State:
        """What is added to the gradient in every step, by parameter; empty for most methods."""
        ...

    def end(self, incoming: State, kept: State, trained: State, *, steps: int) -> tuple[Change, State]:
        """What is released and what is kept, from the model's state after so many steps."""
        ...


def method_for(training: TrainingSpec | None, *, own: State, frozen: State) -> Method:
    """The method that a study asks for; `own` layers stay at the site, `frozen` ones stay as they are everywhere."""
    scaffold = training is not None and training.algorithm == "scaffold"
    method: Method = Scaffold(learning_rate=training.learning_rate) if training and scaffold else Layers(own)
    return Frozen(method, frozen) if frozen else method


class Layers:
    """The model's own state travels, or, as in FedBN, all of it but the site's own layers.

    Args:
        own: those layers in a model that nobody has trained, from which the first round goes on.
    """

    def __init__(self, own: State) -> None:
        self._own = own

    def begin(self, incoming: State, kept: State) -> dict[str, np.ndarray]:
        """The global layers and the site's own."""
        return {**incoming, **(kept or self._own)}

    def correction(self, incoming: State, kept: State) -> State:
        """None."""
        return {}

    def end(self, incoming: State, kept: State, trained: State, *, steps: int) -> tuple[Change, State]:
        """The change of the global layers, and the site's own as they are now."""
        change = change_of(incoming, {name: trained[name] for name in incoming})
        return change, {name: trained[name] for name in self._own}


class Frozen:
    """A method for what is trained, beside a backbone that stays as it came and never travels.

    Args:
        method: for the rest.
        backbone: all of its tensors.
    """

    def __init__(self, method: Method, backbone: State) -> None:
        self._method = method
        self._backbone = backbone

    def begin(self, incoming: State, kept: State) -> dict[str, np.ndarray]:
        """What the method begins with, on the backbone."""
        return {**self._method.begin(incoming, kept), **self._backbone}

    def correction(self, incoming: State, kept: State) -> State:
        """The method's."""
        return self._method.correction(incoming, kept)

    def end(self, incoming: State, kept: State, trained: State, *, steps: int) -> tuple[Change, State]:
        """The method's, of what is not the backbone."""
        rest = {name: value for name, value in trained.items() if name not in self._backbone}
        return self._method.end(incoming, kept, rest, steps=steps)


class Scaffold:
    """SCAFFOLD (Karimireddy et al. 2020, Algorithm 1 with option II for the control variate).

    With x the incoming weights, y those after K steps of SGD at rate r, c and c_i the control variates of
    server and site, every gradient g becomes g - c_i + c, and c_i becomes c_i - c + (x - y) / (K r).

    Args:
        learning_rate: r.
    """

    def __init__(self, *, learning_rate: float) -> None:
        self._rate = learning_rate

    def begin(self, incoming: State, kept: State) -> dict[str, np.ndarray]:
        """The model without the control variates that came with it."""
        return {name: value for name, value in incoming.items() if not name.startswith(CONTROL)}

    def correction(self, incoming: State, kept: State) -> State:
        """c - c_i."""
        controls = {name: value for name, value in incoming.items() if name.startswith(CONTROL)}
        return {name.removeprefix(CONTROL): c - kept.get(name, np.float32(0)) for name, c in controls.items()}

    def end(self, incoming: State, kept: State, trained: State, *, steps: int) -> tuple[Change, State]:
        """The changes of the weights and of c_i, and the new c_i."""
        change = change_of(self.begin(incoming, kept), trained)
        for name in [name for name in incoming if name.startswith(CONTROL)]:
            gradient = change[name.removeprefix(CONTROL)] / np.float32(-self._rate * max(steps, 1))
            change[name] = gradient - incoming[name] if steps else np.zeros_like(gradient)
        controls = {name: value for name, value in change.items() if name.startswith(CONTROL)}
        return change, {name: kept.get(name, np.float32(0)) + delta for name, delta in controls.items()}
