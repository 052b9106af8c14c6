"""The networks that a process keeps built, one for each study, device and thread.

Whoever trains or scores loads the incoming state whole, first of all; so the sites of a simulation can
work one after the other on one network, and memory does not grow with their number. Two threads never
share one.
"""

import threading

import torch
from torch import nn

from shared.models import build_model
from shared.networks.freezing import freeze
from shared.randomness import StudyRandom
from shared.study import Study


class Networks:
    """Builds a network when it is first asked for; every thread that asks has its own."""

    def __init__(self) -> None:
        self._of_thread = threading.local()

    def network(self, study: Study, device: torch.device) -> nn.Module:
        """This thread's network of a study; its weights are whatever its last user left."""
        built = self._built()
        key = (study.digest(), str(device))
        if key not in built:
            built[key] = start_network(study).to(device)
        return built[key]

    def forget(self, study_digest: str) -> None:
        """Let this thread's networks of a study go."""
        built = self._built()
        for key in [key for key in built if key[0] == study_digest]:
            del built[key]

    def _built(self) -> dict[tuple[str, str], nn.Module]:
        found: dict[tuple[str, str], nn.Module] = self._of_thread.__dict__.setdefault("built", {})
        return found


def start_network(study: Study) -> nn.Module:
    """A network of its own, on the CPU, with the weights that the study's seed draws; what is frozen does not train."""
    random = StudyRandom(study.study.seed).child("start")
    outputs, columns = study.task.outputs, study.clinical
    network = build_model(study.model, images=study.images, outputs=outputs, random=random, clinical=columns)
    freeze(network, study.backbone, name=study.model.name)
    return network
