"""Which part of a network comes trained, from a file that the study pins, and which starts anew: its head.

The head is the network's last layer: of another task it has another shape, so the file's own is never used. All
else is the backbone, which the file has to hold tensor by tensor. With `rate = 0` it is frozen: it neither changes
nor travels in a round, and only the head does. How layers are frozen is `shared/networks/freezing.py`'s; which
training goes with a backbone is decided here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from shared.errors import ConfigError, TrustError
from shared.fields import Digest
from shared.section import Section
from shared.training import TrainingSpec
from shared.update import CONTROL, Array, PackedFile, Tensors

HEADS: Mapping[str, str] = {
    "basic_cnn": "head",
    "resnet18": "fc",
    "densenet121": "class_layers.out",
    "efficientnet-b0": "_fc",
    "unet": "final_conv",
    "segresnet": "conv_final.2",
    "cnn_gru": "head",
    "cnn_attention": "head",
}


class BackboneSpec(Section):
    """`sha256` pins the safetensors file; the backbone trains at `rate` times the learning rate, at 0 not at all."""

    sha256: Digest
    rate: Annotated[float, Field(ge=0, le=1)] = 0.0

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it came."""
        return self.rate == 0


def of_head(tensor: str, network: str) -> bool:
    """Whether a tensor, or a parameter, belongs to the head of a network, by their names."""
    return tensor.removeprefix(CONTROL).startswith(f"{HEADS[network]}.")


def head_of(model: PackedFile, network: str) -> Iterator[tuple[str, Array]]:
    """What was trained of a model whose backbone was frozen."""
    return ((name, model.tensor(name)) for name in sorted(model.declared()) if of_head(name, network))


def backbone_table(table: Tensors, network: str) -> Tensors:
    """What of a network's table is its backbone."""
    return tuple(tensor for tensor in table if not of_head(tensor.name, network))


def misfits(file: Path, table: Tensors, network: str) -> list[str]:
    """Names of the tensors in which a file is not the backbone of a network, no more and no less; its head may be any.

    Args:
        file: of a model.
        table: of the whole network.
        network: its name.

    Raises:
        TrustError: it is no safetensors file of a model.
    """
    found = {tensor.name: tensor for tensor in backbone_table(PackedFile(file).table(), network)}
    expected = {tensor.name: tensor for tensor in backbone_table(table, network)}
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


def check_backbone(file: Path, table: Tensors, network: str) -> None:
    """Insist on a file without `misfits`, whose arguments these are.

    Raises:
        ConfigError: there are some.
    """
    try:
        wrong = misfits(file, table, network)
    except TrustError as error:
        raise ConfigError("The backbone's file is no safetensors file of a model.", remedy=error.remedy) from None
    if wrong:
        raise ConfigError(
            f"The backbone's file does not fit {network} in {len(wrong)} tensors, first {wrong[0]}.",
            remedy="Check model.name, norm and width, images.channels and images.slices: they must be those it was"
            " trained with.",
        )


def backbone_fault(
    backbone: BackboneSpec | None,
    training: TrainingSpec | None,
    *,
    kind: str,
    network: str,
    pinned: bool,
    clinical: bool,
) -> str | None:
    """Why a study cannot have this backbone, in words and with what to do; None if it can.

    Args:
        backbone: what is asked.
        training: how the study trains, if it does.
        kind: the study's.
        network: its model's name.
        pinned: whether it pins a whole model to start from.
        clinical: whether it joins clinical columns.
    """
    if backbone is None:
        return None
    algorithm = training.algorithm if training else None
    faults = {
        "[backbone] is for a study that trains; one that scores pins the whole model by model.start_sha256": (
            kind != "train" or training is None
        ),
        "model.start_sha256 gives every weight, the backbone's, too; leave it or [backbone] out": pinned,
        f"[backbone] does not go with model.name = {network}, none of whose layers is known as its head": (
            network not in HEADS
        ),
        "[backbone] does not go with clinical columns, whose network ends otherwise; leave one of them out": clinical,
        "[backbone] does not go with fedbn, whose norm layers are the sites' own; use fedavg": algorithm == "fedbn",
        "scaffold takes the change for a gradient at one learning rate; use backbone.rate = 0 or 1": (
            algorithm == "scaffold" and 0 < backbone.rate < 1
        ),
    }
    return next((fault for fault, holds in faults.items() if holds), None)
