"""A bundle under MONAI's own runner, as those use it who have no Wardround."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np


def run(folder: Path, images: Path, out: Path) -> list[dict[str, Any]]:
    """What `python -m monai.bundle run` does, and what it wrote."""
    from monai.bundle.scripts import run as monai_run

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MONAI warns of its own calls, and of every configuration that it runs
        monai_run(
            config_file=str(folder / "configs" / "inference.json"),
            meta_file=str(folder / "configs" / "metadata.json"),
            **{"bundle_root": str(folder), "dataset_dir": str(images), "output_dir": str(out), "device": "cpu"},
        )
    return list(json.loads((out / "predictions.json").read_text()))


def evaluated(folder: Path, images: Path) -> list[np.ndarray]:
    """The logits of each image, as the bundle's evaluator gives them."""
    from monai.bundle import ConfigParser

    parser = ConfigParser(json.loads((folder / "configs" / "inference.json").read_text()))
    parser.update({"bundle_root": str(folder), "dataset_dir": str(images), "device": "cpu"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser.parse()
        parser.get_parsed_content("initialize")
        return [one.numpy() for one in parser.get_parsed_content("evaluator")()]
