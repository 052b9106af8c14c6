"""What of a model travels, by the study's method; what does not stays at the site, as its own.

    fedavg, fedprox, fednova   every tensor of the model travels
    fedbn                      the normalisation layers stay (Li et al. 2021, "FedBN")
    scaffold                   every tensor, and one control variate for each parameter

A frozen backbone (`shared/backbone.py`) neither changes nor travels, by whatever method the rest is trained.

What travels is the study's tensor table: the server's model, every update, the contract. This module
knows torch only to ask which layers normalise; how the parts are worked on is `client/work/methods.py`'s.
"""

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from shared.backbone import of_head
from shared.models import state_arrays
from shared.study import Study
from shared.training import TrainingSpec
from shared.update import CONTROL, Array

_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


def own_tensors(model: nn.Module, training: TrainingSpec | None) -> frozenset[str]:
    """Names of the model's tensors that stay at the site."""
    if training is None or training.algorithm != "fedbn":
        return frozenset()
    layers = [name for name, layer in model.named_modules() if isinstance(layer, _NORMS)]
    return frozenset(f"{layer}.{name}" for layer in layers for name in model.get_submodule(layer).state_dict())


def frozen_tensors(model: nn.Module, study: Study) -> frozenset[str]:
    """Names of the model's tensors that stay as they came, everywhere."""
    if study.backbone is None or not study.backbone.frozen:
        return frozenset()
    return frozenset(name for name in model.state_dict() if not of_head(name, study.model.name))


def travelling(model: nn.Module, study: Study) -> dict[str, Array]:
    """The state that travels, as it is in a model that nobody has trained."""
    staying = own_tensors(model, study.training) | frozen_tensors(model, study)
    state = {name: value for name, value in state_arrays(model).items() if name not in staying}
    if study.training is not None and study.training.algorithm == "scaffold":
        trained = (name for name, _ in model.named_parameters() if name not in staying)
        state |= {CONTROL + name: np.zeros_like(state[name]) for name in trained}
    return state
