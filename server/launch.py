"""From a study file to a queued study: checked, its start model drawn, its folder complete.

The start model is made here, once, from the study's seed (or taken from a pinned file), so that
the process that runs the rounds never imports torch.
"""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from server.backbones import BACKBONE, on_backbone, pinned_backbone
from server.study_folder import REHEARSAL, StudyFolder, StudyState
from shared.canonical import digest
from shared.durable import fsync_folder, rename_durably, write_atomically
from shared.errors import ConfigError, StudyError
from shared.rehearsal import Terms
from shared.study import Study
from shared.update import Array, PackedFile, Tensors, model_table, pack, rounded_to, table_of

if TYPE_CHECKING:
    from torch import nn

START_MODEL = Path("models") / "start.safetensors"
FINAL_MODEL = Path("model.safetensors")


def start_state(study: Study) -> Mapping[str, np.ndarray]:
    """The state that a study's global model starts from, drawn from its seed."""
    from shared.methods import travelling

    return travelling(_network(study), study)


def packed_start(study: Study, state: Mapping[str, Array]) -> bytes:
    """A start model in the dtypes in which it travels."""
    table = model_table(table_of(state), study.transfer.model_dtype)
    return pack(rounded_to(state, table), table)


def whole_table(study: Study) -> Tensors:
    """Every tensor of a study's model, whether it travels or not."""
    from shared.models import state_arrays

    return table_of(state_arrays(_network(study)))


def launch(
    federation: Path,
    study: Study,
    *,
    source: str,
    start_model: Path | None,
    backbone: Path | None = None,
    now: str,
    rehearsal: Terms | None = None,
) -> StudyFolder:
    """Queue a study; the supervisor starts it.

    Args:
        federation: the federation's folder.
        study: what to run.
        source: the text of the study file, kept beside its canonical form.
        start_model: the safetensors file that `model.start_sha256` pins, if it does.
        backbone: the safetensors file that `backbone.sha256` pins, if it does; a rehearsal needs none.
        now: the time, RFC 3339.
        rehearsal: how it is rehearsed, if it is not to be run.

    Raises:
        StudyError: the name is taken.
        ConfigError: the start model or the backbone is absent, another one, or does not fit.
    """
    target = federation / "studies" / study.name
    if target.exists():
        raise _taken(study.name)
    packed = _start_bytes(study, start_model, pinned_backbone(study, backbone) if rehearsal is None else None)
    target.parent.mkdir(exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=f".{study.name}-", dir=target.parent))
    try:
        (building / "models").mkdir()
        write_atomically(building / START_MODEL, packed)
        if backbone is not None:
            write_atomically(building / BACKBONE, backbone.read_bytes())
        write_atomically(building / "study.toml", source.encode())
        write_atomically(building / "study.json", study.canonical())
        if rehearsal is not None:
            write_atomically(building / REHEARSAL, rehearsal.model_dump_json().encode())
        StudyFolder(building).move(StudyState.QUEUED, now=now)
        _put(building, target, study.name)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    fsync_folder(target.parent)
    return StudyFolder(target)


def _network(study: Study) -> "nn.Module":
    from shared.models import build_model
    from shared.randomness import StudyRandom

    random = StudyRandom(study.study.seed).child("start")
    outputs, columns = study.task.outputs, study.clinical
    return build_model(study.model, images=study.images, outputs=outputs, random=random, clinical=columns)


def _put(building: Path, target: Path, name: str) -> None:
    try:
        rename_durably(building, target)
    except OSError:
        if target.exists():  # launched by somebody else at the same moment
            raise _taken(name) from None
        raise


def _taken(name: str) -> StudyError:
    return StudyError(f"A study named {name} exists already.", remedy="Choose another name: a finished study is kept.")


def _start_bytes(study: Study, start_model: Path | None, backbone: PackedFile | None) -> bytes:
    pinned = study.model.start_sha256
    drawn = start_state(study)
    if backbone is not None:
        return packed_start(study, on_backbone(drawn, backbone, study, whole=whole_table(study)))
    if pinned is None:
        if start_model is not None:
            raise ConfigError(
                "A start model was given, but the study does not pin one.",
                remedy=f'Add start_sha256 = "{digest(start_model.read_bytes())}" under [model].',
            )
        return packed_start(study, drawn)
    if start_model is None:
        raise ConfigError(
            "The study pins a start model (model.start_sha256).", remedy="Name its file with --start-model."
        )
    data = start_model.read_bytes()
    if digest(data) != pinned:
        raise ConfigError(
            "The start model is not the one that the study pins.", remedy="Name the file whose SHA-256 is in the study."
        )
    if PackedFile(start_model).table() != table_of(drawn):
        raise ConfigError(
            "The start model's tensors do not fit the study's model.", remedy="Check model.name, norm and width."
        )
    return data
