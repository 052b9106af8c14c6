"""`wardround predict`: a released model on the hospital's own images, once its signature holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from client.imaging.rules import USUAL, Rules
from client.settings import FILE_NAME, load_settings
from shared.console import Answer, answering, facts, progress_console, table
from shared.errors import ConfigError
from shared.model_card import RESEARCH_ONLY

if TYPE_CHECKING:
    from client.imaging.clinical_table import ClinicalTable
    from client.imaging.kinds import FolderKind
    from client.prediction.predicting import Tally
    from shared.model_card import ModelCard

app = typer.Typer()
PAGE = "explained.html"


@app.command()
@answering("predict")
def predict(
    *,
    model: Annotated[Path, typer.Option(help="The folder that the coordinator exported.")],
    images: Annotated[Path, typer.Option("--input", help="The folder of images.")],
    out: Annotated[Path, typer.Option(help="The folder for the answers, one JSON file per exam.")],
    kind: Annotated[
        Literal["dicom", "nifti", "pictures"] | None, typer.Option(help="What --input holds; else by its names.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", help=f"The site's {FILE_NAME}: its coordinator's key, its rules on images."),
    ] = None,
    coordinator: Annotated[
        str | None, typer.Option(help="The coordinator's key: 64 hex digits, a PEM file, a key card or a fingerprint.")
    ] = None,
    clinical: Annotated[
        Path | None,
        typer.Option(help="The table of what is known beside the images, for a model that takes such columns."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, cuda:N or mps.")] = "auto",
    explain: Annotated[
        int,
        typer.Option(help=f"Show of so many exams where the model looked: {PAGE}, which stays here.", min=0, max=200),
    ] = 0,
    dicom_sr: Annotated[bool, typer.Option("--dicom-sr", help="Write each answer as a DICOM SR, too.")] = False,
    dicom_seg: Annotated[
        bool, typer.Option("--dicom-seg", help="Write the masks of DICOM exams as DICOM SEG.")
    ] = False,
) -> Answer:
    """Let a released model read a folder of images, for research; what is answered already is kept."""
    from client.prediction.beside_answers import Beside, Wanted
    from client.prediction.coordinator_key import coordinator_key
    from client.prediction.predicting import predict as run
    from client.prediction.released_model import load_released
    from client.work.device import compute_in_full, resolve_device

    key = coordinator_key(coordinator, config)
    compute_in_full()  # as the sites did that chose the operating point
    released = load_released(model, coordinator=key, device=resolve_device(device).name)
    key.insist()
    config, kind = _own(config, coordinator), _insist(images, out, kind)
    table = _clinical(clinical, released.card, config, kind)
    wanted = Wanted(explain=explain, reports=dicom_sr, segmentations=dicom_seg)
    beside = Beside(released, images, out, kind=kind, wanted=wanted, now=lambda: datetime.now(UTC))
    command, rules, say = _decoding(kind, images, released.card), _rules(config), progress_console().print
    found = run(released, folder=images, command=command, out=out, rules=rules, beside=beside, clinical=table, say=say)
    data = {"folder": str(out), "signed_by": key.fingerprint, "signer": key.name, **beside.close(out / PAGE)}
    return _told(found, released.card, data, signer=key.words)


def _told(found: "Tally", card: "ModelCard", data: dict[str, Any], *, signer: str) -> Answer:
    calibration, called = card.calibration.words, card.operating.words
    data |= found.model_dump(mode="json") | {"notice": RESEARCH_ONLY, "model": card.weights.sha256}
    data |= {"calibration": calibration, "operating_point": called}
    shown = {
        "model": f"{card.weights.sha256} of {card.origin.study}",
        "signed by": signer,
        **({"masks": called} if card.inputs.task.kind == "segmentation" else _of_probabilities(card)),
        **_head(found),
    }
    if data["unreported"]:
        shown["without a report"] = f"{data['unreported']:,} exams, whose headers lack what a report needs"
    if data["unsegmented"]:
        shown["without a DICOM SEG"] = f"{data['unsegmented']:,} exams, whose headers lack what it needs"
    notice = Text(f"\n{RESEARCH_ONLY[:1].upper()}{RESEARCH_ONLY[1:]}.")
    return Answer(data, Group(facts(shown), *_reasons(found), notice))


def _of_probabilities(card: "ModelCard") -> dict[str, object]:
    return {"probabilities": card.calibration.words, "called": card.operating.words}


def _insist(images: Path, out: Path, kind: "FolderKind | None") -> "FolderKind":
    """Which kind the folder holds, if what is asked can be done."""
    from client.imaging.kinds import kind_of

    if not images.is_dir():
        raise ConfigError(f"{images} is not a folder that is here.", remedy="Correct --input.")
    if out.resolve().is_relative_to(images.resolve()):
        raise ConfigError("The answers would lie among the images.", remedy="Name another folder with --out.")
    return kind or kind_of(images)


def _decoding(kind: "FolderKind", folder: Path, card: "ModelCard") -> tuple[str, ...]:
    """What decodes the folder as the model's study did, if such files hold what the model sees."""
    from client.imaging.decoder import decoding_command
    from client.imaging.sources import check_kind

    check_kind(kind, card.inputs.images)
    return decoding_command(kind, folder, images=card.inputs.images)


def _own(config: Path | None, coordinator: str | None) -> Path | None:
    """The site's own settings: those named, or else those by whose invitation the model is checked."""
    from client.prediction.coordinator_key import is_fingerprint

    by_site = coordinator is None or is_fingerprint(coordinator)
    return Path(FILE_NAME) if config is None and by_site else config


def _clinical(table: Path | None, card: "ModelCard", config: Path | None, kind: "FolderKind") -> "ClinicalTable | None":
    """What is known beside the images, where the model takes that."""
    from client.imaging.clinical_table import ClinicalTable
    from client.imaging.label_settings import AS_IT_STANDS
    from client.imaging.site_table import KEYS

    columns = card.inputs.clinical
    if table is None and columns:
        raise ConfigError(
            f"Beside each image the model takes what the study calls {', '.join(columns)}, and no table has it.",
            remedy="Name the table with --clinical; what it does not know of an exam counts as missing.",
        )
    if table is None:
        return None
    if not columns:
        raise ConfigError("The model takes no clinical columns.", remedy="Leave --clinical out.")
    labels = load_settings(config).labels if config else AS_IT_STANDS
    return ClinicalTable(table, columns, keys=KEYS[kind], settings=labels)


def _rules(config: Path | None) -> Rules:
    if config is None:
        return USUAL
    settings = load_settings(config).data
    return Rules(keep=settings.keep, views=settings.views)


def _head(found: "Tally") -> dict[str, object]:
    called = ", ".join(f"{name} in {number:,}" for name, number in found.called.items())
    missing = (f"{name} of {sum(why.values()):,}" for name, why in found.missing.items() if why)
    return {
        "files": f"{found.files:,}, {found.used:,} of them used",
        "exams": f"{found.exams:,}: {found.predicted:,} answered now ({found.images:,} images), {found.kept:,} before",
        "positive": called,
        **({"not known": f"{', '.join(missing) or 'nothing'}"} if found.missing else {}),
    }


def _reasons(found: "Tally") -> list[RenderableType]:
    from client.imaging.clinical import GAPS, Missing
    from client.imaging.reasons import MEANING, Reason

    shown: list[RenderableType] = []
    if found.set_aside:
        rows = ((reason, number, MEANING[Reason(reason)]) for reason, number in found.set_aside.items())
        shown += [Text(), table(("set aside", "files", "because it is"), rows)]
    if any(found.missing.values()):
        gaps = ((name, n, GAPS[Missing(why)]) for name, whys in found.missing.items() for why, n in whys.items())
        shown += [Text(), table(("not known", "exams", "because the table"), gaps)]
    return shown
