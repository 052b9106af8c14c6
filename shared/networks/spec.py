"""Which network a study trains, by name; how it is built is `shared/models.py`'s."""

from typing import Annotated, Literal

from pydantic import Field

from shared.fields import Digest
from shared.section import Section

NetworkName = Literal[
    "basic_cnn", "resnet18", "densenet121", "efficientnet-b0", "unet", "segresnet", "cnn_gru", "cnn_attention", "vae"
]
SERIES = ("cnn_gru", "cnn_attention")  # networks that read a volume slice by slice


class ModelSpec(Section):
    """One of the networks in the wheel, by name.

    `width` scales `basic_cnn` only (features of its hidden layer), and `cnn_gru` and `cnn_attention`, which look at
    each slice with it. `start_sha256` pins the safetensors file that the study starts from; without it the seed
    initialises the weights.
    """

    name: NetworkName = "basic_cnn"
    norm: Literal["none", "batch", "group", "instance"] = "group"
    width: Annotated[int, Field(ge=8, le=65536)] = 128
    start_sha256: Digest | None = None
