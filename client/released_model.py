"""A released model, checked and built: nothing of a package is used before its signature and card hold.

The network is one of the wheel's, by the card's word; the file gives it numbers and nothing else.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from torch import nn

from shared.classification import Classification
from shared.errors import ConfigError, TrustError
from shared.model_card import ModelCard
from shared.model_package import open_package
from shared.models import build_model, load_state
from shared.randomness import StudyRandom
from shared.update import PackedFile


@dataclass(frozen=True)
class ReleasedModel:
    """A network in evaluation on its device, with the card that says what it is."""

    card: ModelCard
    network: nn.Module
    task: Classification
    device: torch.device


def load_released(folder: Path, *, coordinator: Ed25519PublicKey, device: str) -> ReleasedModel:
    """Check a package and build its network on a device, named as torch names it.

    Raises:
        ConfigError: there is no package, its network is none of this wheel's, or it does not classify single images.
        TrustError: it is not what the coordinator signed, or its tensors are not the network's.
    """
    package = open_package(folder, coordinator=coordinator)
    inputs = package.card.inputs
    if inputs.task.kind != "classification":
        raise ConfigError(
            "The model of this package finds masks, and an answer here is a probability of each class.",
            remedy="Ask for the package of a study whose task.kind is classification.",
        )
    if inputs.images.slices is not None:
        raise ConfigError(
            "The model of this package sees volumes, and here it would be shown single images.",
            remedy="Ask for the package of a study without images.slices.",
        )
    random = StudyRandom(0)  # draws what the file replaces
    network = build_model(inputs.model, images=inputs.images, outputs=inputs.task.outputs, random=random)
    try:
        load_state(network, dict(PackedFile(package.model).items()))
    except ValueError:
        raise TrustError(
            "The model file does not fit the network that its card names.",
            remedy="Install the Wardround version that the card names under origin, or ask for another package.",
        ) from None
    on = torch.device(device)
    return ReleasedModel(package.card, network.to(on).eval(), Classification(inputs.task), on)
