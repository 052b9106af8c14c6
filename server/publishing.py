"""Gives the final model its lasting name beside the journal, whole even where only its head was trained."""

from pathlib import Path

from server.backbones import join_backbone
from server.desk import Desk
from server.launch import FINAL_MODEL
from shared.durable import name_again, rename_durably
from shared.update import PackedFile


def publish(desk: Desk, model: Path) -> None:
    """Make `model.safetensors` of a study: a second name, not a copy, unless a backbone has to be joined to it.

    Args:
        desk: the study's parts.
        model: the chosen model of a round.
    """
    final = desk.folder.path / FINAL_MODEL
    if desk.backbone is not None:
        join_backbone(PackedFile(model), desk.backbone, network=desk.study.model.name, to=final)
        return
    link = final.with_suffix(".part")
    link.unlink(missing_ok=True)
    name_again(model, link)
    rename_durably(link, final)
    link.unlink(missing_ok=True)  # rename(2) does nothing where `final` is that very file already
