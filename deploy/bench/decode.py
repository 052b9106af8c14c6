"""`wardround bench decode`: what our decoding gives for each file of a folder, beside pydicom's own.

Every DICOM image is decoded frame by frame in the process that a site uses, and as a whole by pydicom here, once
with each plug-in that it has for the file's transfer syntax. Stored values must be equal, where a lossy
syntax may differ by one grey level between two decoders; display values are compared by making them of the
reference's stored values. Files are opened in this very process: name a folder that you trust.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder, pixel_array
from rich.console import Group, RenderableType
from rich.text import Text

from client.imaging.decoder import Decoder, decoding_command
from client.imaging.dicom_display import display
from client.imaging.dicom_file import read_whole
from client.imaging.dicom_frames import meaning_of, stored_frames
from client.imaging.dicom_hounsfield import ct_window
from client.imaging.form import Facts, Pixels
from client.imaging.levels import Limits
from client.imaging.reasons import Reason, SetAside
from shared.console import table
from shared.errors import ConfigError
from shared.quiet import quiet

_LOSSY = frozenset({"jpeg_baseline", "jpeg_extended", "jpeg_ls_near_lossless", "jpeg_2000", "htj2k"})
_NATIVE = "pydicom"


@dataclass
class _Found:
    """What came of the files of one transfer syntax."""

    compared: int = 0
    frames: int = 0
    mismatched: int = 0
    without_reference: int = 0
    references: set[str] = field(default_factory=set)


def run(folder: Path) -> dict[str, Any]:
    """Compare every image of a folder.

    Raises:
        ConfigError: there is no such folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder that is here.", remedy="Correct --folder.")
    found: dict[str, _Found] = defaultdict(_Found)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    with Decoder(decoding_command("dicom", folder)) as decoder, quiet():
        for path in files:
            content, facts = decoder.facts(name := path.relative_to(folder).as_posix())
            if isinstance(facts, Facts):
                frames = list(decoder.pixels(name, content=content, frames=range(facts.frames)))
                _compare(path.read_bytes(), frames, facts, found[facts.about.syntax])
    syntaxes = {name: vars(one) | {"references": sorted(one.references)} for name, one in sorted(found.items())}
    return {
        "files": len(files),
        "images": sum(one.compared + one.without_reference for one in found.values()),
        "compared": sum(one.compared for one in found.values()),
        "frames": sum(one.frames for one in found.values()),
        "mismatched": sum(one.mismatched for one in found.values()),
        "without_reference": sum(one.without_reference for one in found.values()),
        "transfer_syntaxes": sum(one.compared > 0 for one in found.values()),
        "syntaxes": syntaxes,
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    if not data["compared"]:
        yield "No image was compared."
    for name, one in data["syntaxes"].items():
        if one["mismatched"]:
            yield f"{one['mismatched']} of {one['compared']} files in {name} differ from pydicom's own values."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per transfer syntax."""
    rows = (
        (name, one["compared"], one["frames"], one["mismatched"], ", ".join(one["references"]))
        for name, one in data["syntaxes"].items()
    )
    said = f"\n{data['compared']} of {data['images']} images in {data['files']} files compared"
    return Group(table(("transfer syntax", "files", "frames", "mismatched", "against"), rows), Text(said))


def _compare(data: bytes, ours: list[Pixels | Reason], facts: Facts, found: _Found) -> None:
    dataset = read_whole(data)
    references = dict(_references(dataset, facts))
    if not references:
        found.without_reference += 1
        return
    found.compared += 1
    found.frames += facts.frames
    found.references |= references.keys()
    tolerance = 1 if facts.about.syntax in _LOSSY else 0
    same = all(_stored_alike(dataset, reference, tolerance) for reference in references.values())
    found.mismatched += not (same and any(_shown_alike(dataset, r, ours) for r in references.values()))


def _references(dataset: Dataset, facts: Facts) -> Iterator[tuple[str, NDArray[Any]]]:
    """Stored values by the name of who decoded them, (frames, rows, columns) or (frames, rows, columns, 3)."""
    plugins = get_decoder(dataset.file_meta.TransferSyntaxUID).available_plugins
    for plugin in plugins or ("",):
        values = _decoded(dataset, plugin)
        if values is not None:
            yield plugin or _NATIVE, values if facts.frames > 1 else values[np.newaxis]


def _decoded(dataset: Dataset, plugin: str) -> NDArray[Any] | None:
    try:
        return np.asarray(pixel_array(dataset, decoding_plugin=plugin))
    except Exception:  # a plug-in that cannot says so in many ways, and is then no reference
        return None


def _stored_alike(dataset: Dataset, reference: NDArray[Any], tolerance: int) -> bool:
    frames = stored_frames(dataset, range(len(reference)))
    return all(
        stored.shape == other.shape and not (np.abs(stored.astype(np.float64) - other) > tolerance).any()
        for (stored, _), other in zip(frames, reference, strict=True)
    )


def _shown_alike(dataset: Dataset, reference: NDArray[Any], ours: list[Pixels | Reason]) -> bool:
    limits = ct_window(dataset, None)
    return all(
        _alike(image, values, meaning_of(dataset, number), limits)
        for number, (image, values) in enumerate(zip(ours, reference, strict=True))
    )


def _alike(image: Pixels | Reason, values: NDArray[Any], meaning: Dataset, limits: Limits | None) -> bool:
    try:
        expected = display(values, meaning, limits)
    except SetAside as error:
        return image is error.reason
    return isinstance(image, np.ndarray) and np.array_equal(image, expected)
