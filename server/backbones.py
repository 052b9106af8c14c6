"""The backbone that a study pins: taken in at the launch, laid under the start model, joined to the final one.

    STUDY/models/backbone.safetensors    the file as it was named at the launch

A frozen one travels with the opening of the study to each site that lacks it, and in no round. The models of the
rounds are then heads alone, by whose digests the sites score; the final model is put together from the last head and
the backbone, so that `model.safetensors` is whole. Whoever has it can check both: packed by themselves, the
tensors of the head have the digest in the journal, and those of the backbone are the pinned file's.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from server.growing import GrowingFile
from shared.backbone import backbone_table, check_backbone, of_head
from shared.canonical import digest
from shared.errors import ConfigError
from shared.study import Study
from shared.update import Array, PackedFile, Piece, Tensors, pack_pieces, packed_order, spans

BACKBONE = Path("models") / "backbone.safetensors"


def pinned_backbone(study: Study, file: Path | None) -> PackedFile | None:
    """The backbone of a study, its digest checked; None if the study has none.

    Raises:
        ConfigError: it is absent, not asked for, or another one than the study pins.
    """
    if study.backbone is None and file is None:
        return None
    found = digest(_read(file)) if file else None
    if study.backbone is None:
        raise ConfigError(
            "A backbone was given, but the study does not pin one.",
            remedy=f'Add a section [backbone] with sha256 = "{found}".',
        )
    if file is None:
        raise ConfigError("The study pins a backbone (backbone.sha256).", remedy="Name its file with --backbone.")
    if found != study.backbone.sha256:
        raise ConfigError(
            "The backbone's file is not the one that the study pins.",
            remedy="Name the file whose SHA-256 is in the study.",
        )
    return PackedFile(file)


def on_backbone(drawn: Mapping[str, Array], backbone: PackedFile, study: Study, *, whole: Tensors) -> dict[str, Array]:
    """The start model of a study with a backbone: its head as drawn, and all else from the file unless that is frozen.

    Args:
        drawn: what travels, from the seed.
        backbone: the pinned file.
        study: as it is launched.
        whole: the table of the network.

    Raises:
        ConfigError: the file does not fit the network.
    """
    check_backbone(backbone.path, whole, study.model.name)
    if study.freezes:
        return dict(drawn)
    return {**drawn, **backbone_of(backbone, study.model.name)}


def backbone_of(file: PackedFile, network: str) -> dict[str, Array]:
    """What of a file is the backbone of a network."""
    return {name: value for name, value in file.items() if not of_head(name, network)}


def join_backbone(head: PackedFile, backbone: Path, *, network: str, to: Path) -> None:
    """Write a whole model, a run at a time.

    Args:
        head: what was trained.
        backbone: the file of what was not.
        network: its name.
        to: the file; it is there whole or not at all.
    """
    base = PackedFile(backbone)
    table = (*head.table(), *backbone_table(base.table(), network))
    with GrowingFile(to) as file:
        for chunk in pack_pieces(table, _pieces(table, head, base, network)):
            file.write(chunk)
        file.finish()


def _pieces(table: Tensors, head: PackedFile, base: PackedFile, network: str) -> Iterator[Piece]:
    own = head.declared()
    for tensor in packed_order(table):
        source = head if tensor.name in own else base
        for start, stop in spans(tensor):
            yield Piece(tensor.name, start, source.run(tensor.name, start, stop))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The backbone's file cannot be read ({error.strerror}).", remedy="Name a safetensors file with --backbone."
        ) from None
