"""Writes a package: the model's file, its card for machines and for people, what the format adds, and the manifest.

The folder is there whole or not at all. Which study's model may leave is decided here:

1. the study has finished, so that the model is the final one and test patients have scored it;
2. the journal's chain holds, and so does every signature in it, by this coordinator's key;
3. the model on the disk is the journal's;
4. it is a whole model: with fedbn each site has the rest of it;
5. it goes in that form: a model that draws images leaves as weights and card alone.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.backbones import BACKBONE, backbone_of, pinned_backbone
from server.export.bundle import MODEL, bundle_files
from server.export.card import Asked, card_of
from server.export.page import render
from server.report.evidence import Evidence, read_evidence
from server.report.publish import Key, without_names
from server.study_folder import StudyFolder, StudyState
from shared.canonical import digest
from shared.durable import fsync_folder, rename_durably, write_atomically
from shared.errors import ConfigError, ResourceError, StudyError, TrustError
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
from shared.ledger import read_lines, verify
from shared.model_card import ModelCard
from shared.model_package import CARD, MANIFEST, SIGNATURE, Format, Manifest, listed, sign_manifest
from shared.update import CONTROL, PackedFile, pack

PAGE = "model-card.html"


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, the card, and each file's path in the folder."""

    folder: Path
    card: ModelCard
    files: tuple[str, ...]


def evidence_for(folder: StudyFolder, *, roster: Iterable[str] | None) -> tuple[Evidence, Key]:
    """A study's folder as it is told of, and who is who if that is by letter.

    Args:
        folder: the study's.
        roster: further names that the study's words may hold; None names the sites.

    Raises:
        StudyError, TrustError, ResourceError: as `read_evidence`.
    """
    evidence = read_evidence(folder)
    if roster is None:
        return evidence, {}
    lettered, key = without_names(folder, evidence, roster=roster)
    if (lettered.study.task, lettered.study.clinical) != (evidence.study.task, evidence.study.clinical):
        raise StudyError(
            "A class or clinical column of the study bears a site's name, and without those no model can be used.",
            remedy="Export it with the sites' names.",
        )
    return lettered, key


def export_model(
    folder: StudyFolder,
    evidence: Evidence,
    asked: Asked,
    *,
    to: Path,
    form: Format,
    key: Ed25519PrivateKey,
    keys: VerifyKey | None = None,
) -> Exported:
    """Write the package of a finished study's model.

    Args:
        folder: the study's.
        evidence: what was read of it, by letter if its sites are not to be named.
        asked: what the coordinator wants of it.
        to: the new folder.
        form: of the package.
        key: the coordinator's, which signs the package.
        keys: all that have signed for the federation, where there were several.

    Raises:
        StudyError: a rule of this module does not hold.
        TrustError: the journal's chain or its signatures do not hold.
        ConfigError: `to` is there already, or the network cannot be written in that form.
        ResourceError: the disk refused.
    """
    _insist(folder, evidence, keys or key.public_key(), form)
    if to.exists():
        raise ConfigError(f"{to} exists already.", remedy="Name a new folder with --out.")
    model, to = _model(folder.path, evidence), to.absolute()

    def make(file: Path) -> ModelCard:
        return card_of(evidence, asked, packed=PackedFile(file), sha256=digest(model), size=len(model))

    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{to.name}.", suffix=".part", dir=to.parent))
        try:
            return _write(building, to, model=model, form=form, make=make, key=key)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise ResourceError(
            f"The package could not be written ({error.strerror}).", remedy="Make room, or name another folder."
        ) from None


def _write(
    building: Path, to: Path, *, model: bytes, form: Format, make: Callable[[Path], ModelCard], key: Ed25519PrivateKey
) -> Exported:
    place = MODEL if form == "monai-bundle" else "model.safetensors"
    _put(building, place, model)
    card = make(building / place)
    files = {CARD: card.model_dump_json(indent=1).encode(), PAGE: render(card).encode()}
    files |= _of_the_form(form, card, building / place)
    lines = {name: listed(data) for name, data in (files | {place: model}).items()}
    manifest = Manifest(format=form, study=card.origin.study, model=place, files=lines)
    for name, data in (files | sign_manifest(manifest, key=key)).items():
        _put(building, name, data)
    building.chmod(0o755)  # a package is made to be handed on
    fsync_folder(building)
    rename_durably(building, to)
    return Exported(to, card, tuple(sorted([*lines, MANIFEST, SIGNATURE])))


def _of_the_form(form: Format, card: ModelCard, model: Path) -> dict[str, bytes]:
    """What a format has beside weights and card, by path."""
    if form == "monai-bundle":
        return bundle_files(card)
    if form == "onnx":
        from server.export.onnx_form import onnx_files

        return onnx_files(card, dict(PackedFile(model).items()))
    return {}


def _put(folder: Path, name: str, data: bytes) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    write_atomically(folder / name, data)


def insist_on_final(folder: StudyFolder, evidence: Evidence, keys: VerifyKey) -> None:
    """The module's rules 1 to 3: there is a final model, and it is the one that the signed journal names.

    Raises:
        StudyError: the study is not finished, or another model lies in its folder.
        TrustError: the journal is not what the coordinator signed.
    """
    # 1. finished
    if (state := evidence.standing.state) is not StudyState.FINISHED:
        raise StudyError(
            f"{folder.name} is {state.value}, so it has no final model.", remedy="Export it when it is done."
        )
    # 2. the journal
    verdict = verify(read_lines(folder.journal), public_key=keys, signer=COORDINATOR)
    if not verdict.ok or not verdict.signed_entries:
        raise TrustError(
            f"The journal of {folder.name} is not what the coordinator signed: {verdict.reason or 'it has no head'}",
            remedy="Restore the study's folder from backup; do not edit its journal.",
        )
    # 3. the model
    if evidence.model_file.digest != evidence.history.final_digest:
        raise StudyError(
            f"{evidence.model_file.path} is not the model that the journal names.",
            remedy="Restore the study's models folder from backup.",
        )


def _insist(folder: StudyFolder, evidence: Evidence, keys: VerifyKey, form: Format) -> None:
    """The module's rules."""
    insist_on_final(folder, evidence, keys)
    # 4. whole
    training = evidence.study.training
    if training is not None and training.algorithm == "fedbn":
        raise StudyError(
            f"{folder.name} trained by fedbn: each site keeps its own norm layers, and the rest alone is no model.",
            remedy="Train by another algorithm to export a model.",
        )
    # 5. in that form
    if evidence.study.task.kind == "generation" and form != "safetensors":
        raise StudyError(
            f"{folder.name} draws images, and {form} is for a model that reads them.",
            remedy="Use --format safetensors.",
        )


def _model(folder: Path, evidence: Evidence) -> bytes:
    """The model's file, without what no network needs, on the backbone that was frozen.

    It is held in memory, as the network is wherever the model is used.
    """
    state = dict(PackedFile(folder / evidence.model_file.path).items())
    if evidence.study.freezes:
        backbone = pinned_backbone(evidence.study, folder / BACKBONE)
        assert backbone is not None
        state |= backbone_of(backbone, evidence.study.model.name)
    return pack({name: value for name, value in state.items() if not name.startswith(CONTROL)})
