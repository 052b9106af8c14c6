"""A model as a MONAI bundle: `configs/inference.json` and `configs/metadata.json`, run by `monai.bundle`.

Decides what the bundle does: it reads 8-bit PNG, JPEG and TIFF pictures, NIfTI volumes (`bundle_volumes.py`), or DICOM
images of CT in the study's window (`bundle_ct.py`), as a site reads them, and writes logits and probabilities as the
card has them, or masks (`bundle_masks.py`). Other DICOM is left to `wardround predict`, whose window no configuration
spells. Weights are loaded from safetensors; nothing is unpickled. No code of the bundle's own runs, but of a model of
series the module of the wheel that joins slices (`bundle_network.py`).

The layout is MONAI's (https://docs.monai.io/en/stable/mb_specification.html); the network is `bundle_network.py`'s.
"""

import json
from importlib.metadata import version
from typing import Any

from server.export.bundle_ct import single_ct
from server.export.bundle_masks import masks_of_planes
from server.export.bundle_network import network_of, scripts_of
from server.export.bundle_reading import Reading, on_scale, pictures
from server.export.bundle_volumes import masks_of_volumes, volumes
from shared.errors import ConfigError
from shared.model_card import ModelCard
from shared.patch import PatchSpec

MODEL = "models/model.safetensors"
INFERENCE, METADATA, README = "configs/inference.json", "configs/metadata.json", "docs/README.md"
SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_IMPORTS = (
    *("import collections", "import json", "import numpy as np", "import pathlib", "import runpy", "import torch"),
    "from safetensors.torch import load_file",
)
_STEP = "$torch.inference_mode()(lambda image: @inferer(image.to(@device), @network).float().cpu())"
_PREDICT = "$lambda: torch.cat([@step(batch['image']) for batch in @dataloader])"
_SCALED = {
    **{"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 65535, "b_min": -1, "b_max": 1},
}
_WRITE = (
    "$lambda logits: (pathlib.Path(@output_dir).mkdir(parents=True, exist_ok=True), pathlib.Path(@output_dir,"
    " 'predictions.json').write_text(json.dumps([{'image': d['image'], 'logits': l, 'probabilities': p} for d, l, p in"
    " zip(@datalist, logits.tolist(), @postprocessing(logits).tolist())], indent=1)))"
)


def bundle_files(card: ModelCard) -> dict[str, bytes]:
    """The bundle's own files but the model, by path.

    Raises:
        ConfigError: the network cannot be spelled out in a configuration, or takes clinical columns.
    """
    if card.inputs.clinical:
        raise ConfigError(
            "The model takes clinical columns beside an image, and a MONAI bundle reads images alone.",
            remedy="Use --format safetensors, for which `wardround predict --clinical` reads both, or onnx.",
        )
    documents = {INFERENCE: _inference(card), METADATA: _metadata(card)}
    files = {path: json.dumps(document, indent=4).encode() for path, document in documents.items()}
    return files | scripts_of(card.inputs.model.name) | {README: _readme(card).encode()}


def _sees_volumes(card: ModelCard) -> bool:
    return card.inputs.images.slices is not None


def _sees_ct(card: ModelCard) -> bool:
    return card.inputs.images.hu is not None and not _sees_volumes(card)


def _reading(card: ModelCard) -> Reading:
    read = volumes if _sees_volumes(card) else single_ct if _sees_ct(card) else pictures
    return read(card.inputs.images)


def _inference(card: ModelCard) -> dict[str, Any]:
    reading, scale = _reading(card), on_scale(card.inputs.images.landmarks)
    return {
        "imports": [f"${line}" for line in (*_IMPORTS, *reading.imports)],
        "bundle_root": ".",
        "dataset_dir": "./images",
        "output_dir": "./predictions",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": reading.listed,
        **network_of(card.inputs),
        "weights": f"$load_file(str(pathlib.Path(@bundle_root, '{MODEL}')))",
        "network": "$@network_def.to(@device).eval()",
        **reading.entries,
        "preprocessing": {"_target_": "Compose", "transforms": [*reading.transforms, *scale, _SCALED]},
        "dataset": {"_target_": "Dataset", "data": "@datalist", "transform": "@preprocessing"},
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": reading.batch, "num_workers": 0},
        "inferer": _inferer(card.inputs.images.patch),
        "step": _STEP,
        **_output(card),
        "initialize": ["$@network_def.load_state_dict(@weights)"],
        "run": ["$@writer(@evaluator())"],
    }


def _inferer(patch: PatchSpec | None) -> dict[str, Any]:
    """As `client/work/inferer.py` brings images through the network."""
    if patch is None:
        return {"_target_": "SimpleInferer"}
    window = {"roi_size": list(patch.grid), "overlap": patch.overlap, "mode": "gaussian"}
    at_once = {"sw_batch_size": patch.together, "sw_device": "@device", "device": "cpu"}
    return {"_target_": "SlidingWindowInferer", **window, **at_once}


def _output(card: ModelCard) -> dict[str, Any]:
    if card.inputs.task.kind == "segmentation":
        return (masks_of_volumes if _sees_volumes(card) else masks_of_planes)(card.inputs)
    return {"postprocessing": _probabilities(card), "evaluator": _PREDICT, "writer": _WRITE}


def _probabilities(card: ModelCard) -> str:
    """As `shared.calibration.probabilities` of the task's one-vs-rest logits."""
    scalings = card.calibration.scalings
    slopes = [s.slope for s in scalings] if scalings else [1.0] * card.inputs.task.outputs
    offsets = [s.offset for s in scalings] if scalings else [0.0] * card.inputs.task.outputs
    scaled = f"torch.sigmoid(m * torch.tensor({slopes}, dtype=m.dtype) + torch.tensor({offsets}, dtype=m.dtype))"
    if card.inputs.task.mode != "multiclass":
        return f"$lambda m: {scaled}"
    margins = "(lambda p: p.log() - torch.log1p(-p))(torch.softmax(x.double(), dim=1).clamp(1e-300, 1 - 1e-16))"
    return f"$lambda x: (lambda q: q / q.sum(dim=1, keepdim=True))((lambda m: {scaled})({margins}))"


def _metadata(card: ModelCard) -> dict[str, Any]:
    images, task = card.inputs.images, card.inputs.task
    places = {"spatial_shape": list(images.seen[1:]), "dtype": "float32", "is_patch_data": images.patch is not None}
    return {
        "schema": SCHEMA,
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported from the study {card.origin.study}"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {name: version(name) for name in _packages(card)},
        "supported_apps": {},
        "name": card.origin.study,
        "task": f"{task.mode} {task.kind}",
        "description": f"{card.origin.description or card.origin.study}: {card.notice}",
        "authors": f"The sites and the coordinator of the study {card.origin.study}",
        "copyright": "As agreed among the sites of the study",
        "intended_use": card.intended_use,
        "data_type": _kinds(card),
        "image_classes": f"{images.channels} channel(s), -1 (black) to 1 (white)",
        "label_classes": ", ".join(task.classes),
        "pred_classes": ", ".join(task.classes),
        "eval_metrics": {name: found.value for name, found in card.performance.figures.items()},
        "network_data_format": {
            "inputs": {
                "image": {
                    **{"type": "image", "format": "magnitude", "num_channels": images.channels, "value_range": [-1, 1]},
                    **places,
                    "channel_def": {str(n): "image" for n in range(images.channels)},
                }
            },
            "outputs": {"pred": _outputs(card, places)},
        },
    }


def _outputs(card: ModelCard, places: dict[str, Any]) -> dict[str, Any]:
    task = card.inputs.task
    names = ("none", *task.classes) if task.outputs > len(task.classes) else task.classes
    said = {"num_channels": task.outputs, "value_range": [], "channel_def": {str(n): c for n, c in enumerate(names)}}
    if task.kind == "segmentation":
        return {"type": "image", "format": "segmentation", **said, **places}
    shape = {"spatial_shape": [task.outputs], "dtype": "float32", "is_patch_data": False}
    return {"type": "probabilities", "format": "classes", **said, **shape}


def _readme(card: ModelCard) -> str:
    return f"""# {card.origin.study}

{card.notice[:1].upper()}{card.notice[1:]}. What the model is, how good and what it is not for: `model-card.html`.

Check the package first: `wardround predict` does, and so does any check of `manifest.sig` by the coordinator's key.

    pip install monai {" ".join(_packages(card))} fire
    python -m monai.bundle run --config_file {INFERENCE} --meta_file {METADATA} \\
        --bundle_root . --dataset_dir IMAGES --output_dir PREDICTIONS

`IMAGES` holds {_read(card)}. {_written(card)} {_left(card)}
"""


def _packages(card: ModelCard) -> tuple[str, ...]:
    if _sees_volumes(card):
        return ("nibabel", "safetensors")
    return ("pillow", *(["pydicom"] if _sees_ct(card) else []), "safetensors")


def _kinds(card: ModelCard) -> str:
    if _sees_volumes(card):
        return "NIfTI, one volume per file"
    return "DICOM, CT in Hounsfield units, one image per file" if _sees_ct(card) else "PNG, JPEG and TIFF, 8 bits"


def _left(card: ModelCard) -> str:
    if _sees_ct(card):
        return (
            "A file that is no CT, and what it calls padding, `wardround predict` knows; a bundle takes all as it is."
        )
    return "DICOM is read by `wardround predict`, which knows its windows."


def _read(card: ModelCard) -> str:
    if _sees_ct(card):
        return "DICOM files of CT, one image each (compressed ones need pydicom's plugins, such as pylibjpeg)"
    if not _sees_volumes(card):
        return "8-bit PNG, JPEG or TIFF pictures"
    return "NIfTI files of one volume each" + (", CT in Hounsfield units" if card.inputs.images.hu else "")


def _written(card: ModelCard) -> str:
    if card.inputs.task.kind == "segmentation":
        return f"`PREDICTIONS` then has a mask of each, and `predictions.json` how large it is. {card.operating.words}"
    calibrated = card.calibration.words
    return (
        f"`PREDICTIONS/predictions.json` then has the network's logits and the probabilities for each ({calibrated})."
    )
