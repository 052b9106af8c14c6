"""Who plays in a demo: the sites with their images, and the study they run.

By default four phantom hospitals; for measurements, one .npz divided over sites.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from client.imaging.array_volumes import are_volumes
from client.imaging.settings import DataSettings
from deploy.partition import PartitionedSite, partition
from server.cli.arguments import read_study
from shared.errors import ConfigError
from shared.study import Study, parse_study


def _changed(study: str, changes: Mapping[str, str]) -> str:
    """The same study but for some of its lines, each of which it has once."""
    for line, instead in changes.items():
        assert study.count(line) == 1, line
        study = study.replace(line, instead)
    return study


PHANTOM_STUDY = """\
[study]
name = "chest-opacity"
description = "Synthetic chest radiographs of four invented hospitals."
seed = {seed}

[task]
mode = "binary"
classes = ["opacity"]

[images]
size_px = 48

[model]
name = "basic_cnn"
norm = "group"

[training]
optimizer = "adamw"
learning_rate = 0.001
batch_size = 16
epochs_per_round = 2

[rounds]
count = {rounds}
quorum = {sites}
deadline_s = 600
"""

NPZ_STUDY = """\
[study]
name = "{name}"
seed = {seed}

[task]
mode = "{mode}"
classes = [{classes}]

[images]
size_px = {size_px}
channels = {channels}{slices}

[model]
name = "basic_cnn"
norm = "group"

[training]
optimizer = "sgd"
learning_rate = 0.05
batch_size = 32
epochs_per_round = 1

[rounds]
count = {rounds}
quorum = {sites}
deadline_s = 600
"""

LABELS_STUDY = _changed(
    NPZ_STUDY,
    {
        'norm = "group"': 'norm = "batch"',
        'optimizer = "sgd"': 'optimizer = "adamw"',
        "learning_rate = 0.05": "learning_rate = 0.001",
        "epochs_per_round = 1": "epochs_per_round = 2",
    },
)

# Pictures in colour are of skin, tissue or cells, which have no side, and whose classes are often a hundred to one.
# Chosen by the validation patients of HAM10000's three natural sites; docs/methods.md has what it reaches.
COLOUR_STUDY = _changed(
    NPZ_STUDY,
    {
        "channels = {channels}{slices}": 'channels = {channels}{slices}\naugment = "dermoscopy"',
        'optimizer = "sgd"': 'optimizer = "adamw"',
        "learning_rate = 0.05": 'learning_rate = 0.003\nschedule = "cosine"\nsampling = "class_balanced"',
        "epochs_per_round = 1": "epochs_per_round = 4",
    },
)

MASKS_STUDY = """\
[study]
name = "{name}"
seed = {seed}

[task]
kind = "segmentation"
mode = "{mode}"
classes = [{classes}]
instances = true

[images]
size_px = {size_px}
channels = {channels}
augment = "light"

[model]
name = "unet"
norm = "group"

[training]
optimizer = "adamw"
learning_rate = 0.002
batch_size = 32
epochs_per_round = 1

[rounds]
count = {rounds}
quorum = {sites}
deadline_s = 1800
"""


@dataclass(frozen=True)
class Cast:
    """A demo before it starts: what each site's `[data]` says, and the study's text."""

    data: Mapping[str, DataSettings]
    study_text: str

    @property
    def study(self) -> Study:
        """The study, parsed."""
        return parse_study(self.study_text)


def phantom_cast(root: Path, *, rounds: int, seed: int) -> Cast:
    """Draw the four phantom hospitals under `root`."""
    from deploy.phantom import HOSPITALS, draw_hospital

    data = {}
    for hospital in HOSPITALS:
        folder = root / hospital.name
        draw_hospital(hospital, folder, seed=seed)
        data[hospital.name] = DataSettings(kind="dicom", folder=folder, labels=folder / "labels.csv")
    return Cast(data, PHANTOM_STUDY.format(rounds=rounds, seed=seed, sites=len(data)))


def npz_cast(
    root: Path, file: Path, *, scheme: str, sites: int | None, rounds: int, seed: int, study: str = NPZ_STUDY
) -> Cast:
    """Divide one .npz over sites under `root`, and derive the study from its shape and its labels or masks.

    Raises:
        ConfigError: the file is absent or not in one of the known forms.
    """
    parts = partition(file, scheme=scheme, sites=sites, seed=seed, out=root)
    data = {part.name: DataSettings(kind="npz", file=part.file) for part in parts}
    with np.load(parts[0].file, allow_pickle=False) as arrays:
        images = arrays["images"]
        names = _structures(arrays) if study == MASKS_STUDY else _classes(arrays, parts)
    seen = _seen(images.shape)
    study = COLOUR_STUDY if study == LABELS_STUDY and seen["channels"] == 3 else study
    text = study.format(
        name=file.stem.lower().replace("_", "-")[:48],
        seed=seed,
        mode="binary" if len(names) == 1 else "multiclass",
        classes=", ".join(f'"{name}"' for name in names),
        **seen,
        rounds=rounds,
        sites=len(parts),
    )
    return Cast(data, text)


def own_cast(
    root: Path, file: Path, *, study: Path, scheme: str, sites: int | None, seed: int, beside: Path | None = None
) -> Cast:
    """Divide one .npz over sites under `root`, for a study that is given.

    Raises:
        ConfigError: the study, the array file or the table beside it cannot be used.
    """
    _check_comparable(read_study(study))
    parts = partition(file, scheme=scheme, sites=sites, seed=seed, out=root, beside=beside)
    return Cast(
        {part.name: DataSettings(kind="npz", file=part.file) for part in parts}, study.read_text(encoding="utf-8")
    )


def _check_comparable(study: Study) -> None:
    """Insist on a study that can be trained alone and pooled in the same way.

    Raises:
        ConfigError: it cannot.
    """
    training = study.training
    faults = {
        "model.start_sha256": study.model.start_sha256 is not None,  # an evaluation has it, too
        "[privacy]": study.privacy is not None,
        "training.seconds_per_round": training is not None and training.seconds_per_round is not None,
        "training.algorithm = fedbn or scaffold": study.keeps_state,
    }
    if found := next((name for name, holds in faults.items() if holds), None):
        raise ConfigError(
            f"A demo cannot compare a study with {found}: nobody trains alone, or all pooled, in the same way.",
            remedy="Leave it out of the study; `wardround simulate` runs any.",
        )


def _seen(shape: tuple[int, ...]) -> dict[str, Any]:
    """What a study's images are, of an array of pictures (n, h, w[, 1 or 3]) or volumes (n, slices, h, w[, 1])."""
    if not are_volumes(shape):
        return {"size_px": max(16, shape[1]), "channels": 3 if shape[3:] == (3,) else 1, "slices": ""}
    return {"size_px": max(16, *shape[2:4]), "channels": 1, "slices": f"\nslices = {max(8, shape[1])}"}


def _classes(arrays: Mapping[str, NDArray[Any]], parts: Sequence[PartitionedSite]) -> list[str]:
    labels = arrays["labels"]
    if labels.ndim > 1 and labels.shape[1] > 1:
        raise ConfigError("The demo knows single-label arrays.", remedy="Use a file with one label per image.")
    numbers = sorted({int(label) for part in parts for split in part.counts.values() for label in split})
    return ["positive"] if len(numbers) == 2 else [f"class {number}" for number in numbers]


def _structures(arrays: Mapping[str, NDArray[Any]]) -> list[str]:
    if "masks" not in arrays:
        raise ConfigError("The array file has no `masks`.", remedy="Use --task classification, or another file.")
    masks = arrays["masks"]
    most = int(masks.max()) if masks.ndim > 2 else 1  # packed bits are of one structure
    return ["structure"] if most <= 1 or most == np.iinfo(np.uint8).max else [f"structure {n + 1}" for n in range(most)]
