"""A model as ONNX (https://onnx.ai): one file for ONNX Runtime, and what is built on it, where no torch is installed.

Decides what the graph takes and gives. It takes `image`, any number of images (n, channels, *size) as float32 from -1
(black) to 1 (white), prepared as the card says, which no graph does; and, of a model that takes clinical columns, what
is known beside them as `clinical` (n, columns) float32, in the card's order and units, a category as its place among
the column's values from 0, NaN where nothing is known. Of a study that sees images in patches it takes one window of
an image, and whoever runs it slides the windows. It gives the network's `logits` and, of a classification, the
`probabilities` that the card tells of, its calibration applied. The weights that the package is signed for lie beside
it as safetensors.

1. Nothing but the graph and its numbers is in the file: what the exporter notes of the code that it came from goes.
2. ONNX Runtime has to give what torch gives, within `TOLERANCE`, or nothing is written.
"""

from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.clinical import ClinicalColumn
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.model_card import Inputs, ModelCard
from shared.models import build_model, load_state
from shared.quiet import quiet
from shared.randomness import StudyRandom
from shared.update import Array

MODEL, README = "model.onnx", "docs/README.md"
TOLERANCE = 1e-4  # of a logit or a probability, and of a logit beyond 1 its share
_TRIED = 3  # images; another number than the graph was made with
_REMEDY = "Use --format safetensors."


def onnx_files(card: ModelCard, state: dict[str, Array]) -> dict[str, bytes]:
    """The graph and what to do with it, by path.

    Args:
        card: of the model.
        state: its tensors, by name.

    Raises:
        ConfigError: ONNX's packages are not installed, or the network cannot be written so.
    """
    tools, answers = _tools(), _Answers(card, state).eval()
    with quiet(), torch.inference_mode(False):
        proto = _graph(answers, card)
    data: bytes = proto.SerializeToString()
    apart = _apart(tools, data, answers, card)
    return {MODEL: data, README: _readme(card, opset=proto.opset_import[0].version, apart=apart).encode()}


class _Answers(nn.Module):
    """The network, and what the card makes of its logits."""

    slopes: torch.Tensor
    offsets: torch.Tensor

    def __init__(self, card: ModelCard, state: dict[str, Array]) -> None:
        super().__init__()
        inputs, scalings = card.inputs, card.calibration.scalings
        outputs = inputs.task.outputs
        self.network = build_model(
            inputs.model, images=inputs.images, outputs=outputs, random=StudyRandom(0), clinical=inputs.clinical
        )
        load_state(self.network, state)
        self.masks, self.exclusive = inputs.task.kind == "segmentation", inputs.task.exclusive
        slopes, offsets = ([s.slope for s in scalings], [s.offset for s in scalings]) if scalings else ([1.0], [0.0])
        self.register_buffer("slopes", torch.tensor(slopes, dtype=torch.float64))
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.float64))

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Images and what is known beside them to the logits and, of a classification, the probabilities."""
        logits: torch.Tensor = self.network(*given)
        if self.masks:
            return (logits,)
        margins = logits.double()
        if self.exclusive:  # the log odds of each class, as `Classification` takes them
            shares = torch.softmax(margins, dim=1).clamp(1e-300, 1 - 1e-16)
            margins = shares.log() - torch.log1p(-shares)
        found = torch.sigmoid(margins * self.slopes + self.offsets)
        found = found / found.sum(dim=1, keepdim=True) if self.exclusive else found
        return logits, found.float()


def _tools() -> Any:
    """ONNX Runtime, if all that the export needs is there."""
    try:
        import onnx  # noqa: F401 - torch's exporter needs both
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError:
        raise ConfigError("ONNX is not installed.", remedy="Install it: pip install 'wardround[onnx]'.") from None
    return onnxruntime


def _graph(answers: _Answers, card: ModelCard) -> Any:
    """The model as ONNX's own message, by rule 1."""
    given = _drawn(card.inputs, number=2)
    several = {0: torch.export.Dim("images")}
    try:
        made = torch.onnx.export(
            answers,
            tuple(map(torch.from_numpy, given.values())),
            input_names=list(given),
            output_names=["logits"] if answers.masks else ["logits", "probabilities"],
            dynamic_shapes=((several,) * len(given),),
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError:
        raise ConfigError(f"The network {card.inputs.model.name} has no ONNX form.", remedy=_REMEDY) from None
    assert made is not None
    proto = made.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.functions):
        _forget(part)
    for function in proto.functions:
        for node in function.node:
            _forget(node)
    for name, said in {"study": card.origin.study, "sha256": card.weights.sha256, "notice": card.notice}.items():
        proto.metadata_props.add(key=f"wardround.{name}", value=said)
    return proto


def _forget(part: Any) -> None:
    part.ClearField("doc_string")
    part.ClearField("metadata_props")


def _apart(tools: Any, data: bytes, answers: _Answers, card: ModelCard) -> float:
    """How far ONNX Runtime's answers lie from torch's at most, by rule 2."""
    given = _drawn(card.inputs, number=_TRIED)
    try:
        found = tools.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, given)
    except Exception:  # its errors have no type of their own
        raise ConfigError(f"ONNX Runtime does not take the network {card.inputs.model.name}.", remedy=_REMEDY) from None
    with torch.inference_mode():
        expected = [one.numpy() for one in answers(*map(torch.from_numpy, given.values()))]
    apart = max(map(_distance, found, expected))
    if not apart <= TOLERANCE:
        raise ConfigError(f"ONNX Runtime gives other numbers for the network {card.inputs.model.name}.", remedy=_REMEDY)
    return apart


def _drawn(inputs: Inputs, *, number: int) -> dict[str, NDArray[np.float32]]:
    """By the names of the graph's inputs, so many drawn images and what might be known beside them."""
    random = np.random.default_rng(0)
    given = {"image": random.uniform(-1, 1, (number, *inputs.images.seen)).astype(np.float32)}
    if not inputs.clinical:
        return given
    known = [
        random.integers(0, len(column.values), number)
        if column.values
        else column.middle + column.spread * random.normal(size=number)
        for column in inputs.clinical.values()
    ]
    values = np.stack(known, axis=1).astype(np.float32)
    values[0] = np.nan
    return given | {"clinical": values}


def _distance(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float((np.abs(found - expected) / np.maximum(1, np.abs(expected))).max())


def _windows(images: ImageSpec) -> str:
    """How the whole of an image is made of windows, as `client/work/inferer.py` makes it."""
    if images.patch is None:
        return ""
    size, whole = (" x ".join(map(str, grid)) for grid in (images.patch.grid, images.grid))
    return (
        f"\nThe graph answers one window. An image of {whole} is cut into windows of {size} that overlap by"
        f" {images.patch.overlap:g}, and where\nthey do their logits are averaged with Gaussian weights, as MONAI's"
        ' SlidingWindowInferer with mode="gaussian" does it: the\ncard\'s figures are of that.\n\n'
    )


def _beside(inputs: Inputs) -> str:
    """What stands in `clinical`, column by column."""
    if not inputs.clinical:
        return ""
    columns = "\n".join(f"- {name}: {_column(column)}" for name, column in inputs.clinical.items())
    return (
        f"\nIt also takes `clinical`, n x {len(inputs.clinical)}, float32: what is known beside each image, NaN where"
        f" nothing is, in this order:\n\n{columns}\n\nThe graph itself brings values to the network's scale. One out of"
        " its range is missing, so NaN.\n\n"
    )


def _column(column: ClinicalColumn) -> str:
    if column.values:
        return ", ".join(f"{number} {value}" for number, value in enumerate(column.values))
    return f"a number from {column.low:g} to {column.high:g}{f' {column.unit}' if column.unit else ''}"


def _readme(card: ModelCard, *, opset: int, apart: float) -> str:
    inputs = card.inputs
    channels, *places = inputs.images.seen
    size = " x ".join(map(str, (channels, *places)))
    gives = "`logits`, n x " + " x ".join(map(str, (inputs.task.outputs, *places)))
    if inputs.task.kind != "segmentation":
        gives = f"`logits` and `probabilities` ({card.calibration.words}), n x {inputs.task.outputs}"
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(card.preprocessing, start=1))
    return f"""# {card.origin.study}

{card.notice[:1].upper()}{card.notice[1:]}. What the model is, how good and what it is not for: `model-card.html`.

Check the package first: `wardround predict` does, and so does any check of `manifest.sig` by the coordinator's key.

`{MODEL}` is ONNX, opset {opset}. It takes `image`, n x {size}, float32 from -1 (black) to 1 (white), and gives
{gives}, float32. Classes: {", ".join(inputs.task.classes)}.
{_windows(inputs.images)}{_beside(inputs)}\
ONNX Runtime {version("onnxruntime")} gave what torch gave within {max(apart, 1e-7):.0e}.

Images have to be prepared as those that the model was trained on; the graph does not do it:

{steps}
"""
