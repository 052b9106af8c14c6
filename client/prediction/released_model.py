"""A released model, checked and built: nothing of a package is used before its signature and card hold.

The network is one of the wheel's, by the card's word; the file gives it numbers and nothing else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from client.imaging.clinical import Clinical, as_vector
from shared.errors import ConfigError, TrustError
from shared.keys import VerifyKey
from shared.model_card import ModelCard
from shared.model_package import open_package
from shared.models import build_model, load_state
from shared.randomness import StudyRandom
from shared.tasks import Task, task_for
from shared.update import PackedFile


@dataclass(frozen=True)
class ReleasedModel:
    """A network in evaluation on its device, with the card that says what it is."""

    card: ModelCard
    network: nn.Module
    task: Task
    device: torch.device

    @property
    def masks(self) -> bool:
        """Whether it finds masks."""
        return self.card.inputs.task.kind == "segmentation"

    def beside(self, known: Sequence[Clinical]) -> tuple[Tensor, ...]:
        """What the network takes beside images, one line for each: (images, columns) float32, or nothing."""
        columns = self.card.inputs.clinical
        if not columns:
            return ()
        return (torch.tensor([as_vector(line, columns) for line in known], dtype=torch.float32, device=self.device),)


def load_released(folder: Path, *, coordinator: VerifyKey, device: str) -> ReleasedModel:
    """Check a package and build its network on a device, named as torch names it.

    Raises:
        ConfigError: there is no package, its network is none of this wheel's, or draws images.
        TrustError: it is not what the coordinator signed, or its tensors are not the network's.
    """
    package = open_package(folder, coordinator=coordinator)
    inputs = package.card.inputs
    if inputs.task.kind == "generation":
        raise ConfigError(
            "The model draws images, and says nothing of one.",
            remedy="Name the package of a model that classifies or finds masks.",
        )
    random = StudyRandom(0)  # draws what the file replaces
    outputs, columns = inputs.task.outputs, inputs.clinical
    network = build_model(inputs.model, images=inputs.images, outputs=outputs, random=random, clinical=columns)
    try:
        load_state(network, dict(PackedFile(package.model).items()))
    except ValueError:
        raise TrustError(
            "The model file does not fit the network that its card names.",
            remedy="Install the Wardround version that the card names under origin, or ask for another package.",
        ) from None
    on = torch.device(device)
    return ReleasedModel(package.card, network.to(on).eval(), task_for(inputs.task), on)
