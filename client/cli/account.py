"""`wardround site data`: what the site has, what of it a study can use, and why not the rest."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from client.settings import FILE_NAME, folder_of
from shared.console import Answer, answering, facts, progress_console, table
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.randomness import PrivateRandom

if TYPE_CHECKING:
    from client.imaging.account import Account
    from client.imaging.kinds import FolderKind
    from client.site_account import SiteAccount
    from shared.study import Study

_MOST_NAMES, _LONGEST_NAME = 20, 40  # names of columns that are shown, and characters of one
_NO_LABEL = (
    " The label table has no column `label`: a study that classifies needs it, or one column per class; labels.columns"
    " in site.toml says what yours is called."
)


@answering("site.data")
def data(
    *,
    folder: Annotated[Path | None, typer.Option(help="Only this folder, without labels and splits.")] = None,
    kind: Annotated[
        Literal["dicom", "nifti", "pictures"] | None, typer.Option(help="What --folder holds; else by its names.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help=f"The site's {FILE_NAME}.")] = None,
    study: Annotated[
        Path | None, typer.Option(help="A study's file: what images it sees, and its classes are counted.")
    ] = None,
) -> Answer:
    """Read every image once; count what can be used, and the rest by reason."""
    from client.site_account import account_of_site

    say = progress_console().print
    if folder is not None and config is not None:
        raise ConfigError("--folder looks at files alone, without labels.", remedy="Leave --config out, or --folder.")
    asked = read_study(study)
    site = (
        _of_folder(folder, kind, asked) if folder else account_of_site(folder_of(config or Path(FILE_NAME)), asked, say)
    )
    found = site.account
    columns = {"label table": f"columns {_shortly(site.columns)}"} if site.columns is not None else {}
    warnings = (Text(f"\n{line}") for line in (*_misfits(site, asked), *_warnings(found)))
    shown = Group(facts(_head(found) | columns), Text(), _reasons(found), *warnings)
    return Answer(found.model_dump(mode="json"), shown)


def _of_folder(folder: Path, kind: "FolderKind | None", study: "Study | None") -> "SiteAccount":
    from client.imaging.kinds import kind_of
    from client.imaging.sources import source_of
    from client.imaging.survey import survey
    from client.site_account import SiteAccount

    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder that is here.", remedy="Correct --folder.")
    salt = PrivateRandom().bytes(32)  # of this one look; the pseudonyms serve to count
    images = study.images if study else ImageSpec()
    kind = kind or kind_of(folder)
    source = source_of(folder, kind=kind, images=images, salt=salt)
    return SiteAccount(survey(source, settings=None, task=None, say=progress_console().print), kind)


def read_study(path: Path | None) -> "Study | None":
    """The study in a file, if one is named. Raises `ConfigError`: there is no such file, or it is no study."""
    from shared.study import parse_study

    if path is None:
        return None
    try:
        return parse_study(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError):
        raise ConfigError(f"There is no study file at {path}.", remedy="Correct --study.") from None


def _head(found: "Account") -> dict[str, object]:
    counted = {
        "transfer syntaxes": found.transfer_syntaxes,
        "modalities": found.modalities,
        "vendors": found.vendors,
        "views": found.views,
        "marks": found.marks,
        "classes (patients)": found.classes or {},
    }
    splits, exams = found.splits or {}, found.exams  # only DICOM has exams
    return {
        "files": f"{found.files:,}" + (f", and {found.masks:,} masks of them" if found.masks else ""),
        "used": f"{found.used:,} files, {found.images:,} images",
        "of": f"{found.patients:,} patients" + (f", {exams:,} exams, {found.series:,} series" if exams else ""),
        **{name: _listed(counts) for name, counts in counted.items() if counts},
        **{name: _listed(counts) for name, counts in found.clinical.items()},
        **{
            part: f"{inside.images:,} images of {inside.patients:,} patients" + _after(inside.classes)
            for part, inside in splits.items()
        },
    }


def _reasons(found: "Account") -> RenderableType:
    if not found.set_aside:
        return Text("Nothing is set aside.")
    return table(
        ("set aside", "files", "because it is"), ((a.reason, f"{a.files:,}", a.meaning) for a in found.set_aside)
    )


def _after(classes: Mapping[str, int]) -> str:
    return f": {_listed(classes)}" if classes else ""


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {number:,}" for word, number in counts.items())


def _shortly(columns: Sequence[str]) -> str:
    """Names of columns, a cell that was taken for one cut off."""
    names = [name[:_LONGEST_NAME] for name in columns[:_MOST_NAMES]]
    return ", ".join(names) + (f" and {len(columns) - len(names):,} more" if len(columns) > len(names) else "")


def _misfits(site: "SiteAccount", study: "Study | None") -> Iterator[str]:
    """What is to be mended before anything else: nothing can be used, or the labels are not the study's."""
    from client.imaging.reasons import Reason

    found, columns = site.account, site.columns
    if found.set_aside and not found.used:
        most = found.set_aside[0]
        yield f"No file can be used; most are set aside as {most.reason}." + (
            f" They were read as {site.kind}: if they are something else, correct data.kind in site.toml (dicom, nifti,"
            " pictures or npz), or --kind with --folder."
            if most.reason in (Reason.NOT_AN_IMAGE, Reason.UNREADABLE)
            else ""
        )
    if columns is not None and site.kind in ("nifti", "pictures") and "patient" not in columns:
        yield (
            f"The label table has no column `patient`, and files of kind {site.kind} name none: add it, or say in "
            "labels.columns in site.toml what yours is called."
        )
    if columns is not None and study is None:
        bare = "" if {"label", "mask"} & {*columns} else _NO_LABEL
        yield f"What the labels say was not looked at: hold them against a study with --study FILE.{bare}"
    if study and study.study.kind == "train" and found.absent_classes:
        yield (
            f"No patient to train on is {', '.join(found.absent_classes)}: with the study, this site would learn that "
            "nobody is. Do its labels stand for the study's classes? See labels.words."
        )
    if found.labels_unmapped:
        yield f"{found.labels_unmapped:,} files have a label that the study does not know: see labels.words."
    if site.unmapped:
        yield f"Words among them, with the patients of each: {_listed(site.unmapped)}."


def _warnings(found: "Account") -> Iterator[str]:
    from client.imaging.account import SMALL_CLASS

    declared, possible = found.burned_in_text["declared"], found.burned_in_text["possible"]
    if declared or possible:
        yield (
            f"Text may stand in the pixels of {declared + possible:,} files ({declared:,} say so; {possible:,} are of "
            "a kind that often has it). A network can learn it: look at some, and blacken it if it names patients."
        )
    if found.patients_across_splits:
        yield (
            f"The labels put {found.patients_across_splits:,} patients into more than one split; a study would refuse "
            "them. Give all images of a patient the same split, or leave the split column out."
        )
    if found.labels_unused:
        yield f"{found.labels_unused:,} lines of the label table answer to no file."
    for part, name in found.small_classes:
        yield f"Fewer than {SMALL_CLASS} patients of {name} for {part}."
    if found.train_only_advised:
        yield (
            "Figures of so few say little. The site can train only: with data.validation_fraction = 0, and "
            "data.test_fraction = 0 or `train` throughout the column split."
        )
