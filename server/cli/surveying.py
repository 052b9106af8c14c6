"""`wardround study cohort`: what the sites have for a study, as far as they tell, and what it could show with that."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from server.cli.arguments import HERE, Federation, StartModel, a_number
from server.cli.rehearsing import DEADLINE_S, Deadline, begin, follow_to_end
from server.feasibility import ASSUMED_AUROC, Expected, expected
from server.landmarks import FEWEST_SITES, has_scale, landmarks_of
from shared.console import Answer, answering, table
from shared.errors import StudyError
from shared.study import Study
from shared.survey import AXES, SPLITS, Cell, Survey, surveyable

app = typer.Typer()

WITHHELD = "few"  # what stands for a cell that is not told


@app.command("cohort")
@answering("study.cohort")
def cohort(
    path: Annotated[Path, typer.Argument(help="The study file.")],
    federation: Federation = HERE,
    start_model: StartModel = None,
    deadline: Deadline = DEADLINE_S,
    auroc: Annotated[
        float, typer.Option(min=0.5, max=0.99, callback=a_number, help="The AUROC that you expect.")
    ] = ASSUMED_AUROC,
) -> Answer:
    """Rehearse a study and let every site count its patients, too: what is there, and what it could show."""
    from server.cli.arguments import read_study
    from server.journal import read_history

    study = read_study(path)
    folder = begin(study, federation, start_model=start_model, deadline_s=deadline, survey=True)
    follow_to_end(folder, federation)
    history = read_history(folder.journal)
    told = {site: said.survey for site, said in sorted(history.rehearsed.items()) if said.survey is not None}
    assert history.started is not None
    silent = {site: (history.missing or {}).get(site, "nothing counted") for site in history.started.cohort}
    silent = {site: why for site, why in silent.items() if site not in told}
    classes = study.task.classes if study.task.kind == "classification" else ()  # masks have no AUROC
    chances = expected(told, classes, auroc=auroc)
    data = {
        "study": study.name,
        "survey": folder.name,
        "sites": {site: survey.model_dump(mode="json") for site, survey in told.items()},
        "silent": silent,
        "assumed_auroc": auroc,
        "expected": [asdict(chance) for chance in chances],
        "landmarks": landmarks_of(told.values(), study.images),
    }
    if not told:
        why = ", ".join(f"{site}: {cause}" for site, cause in silent.items())
        error = StudyError(f"No site has counted its patients ({why}).", remedy="See `wardround study rehearse`.")
        return Answer(data, error=error)
    return Answer(data, Group(*shown(study, told, silent, chances, auroc)))


def shown(
    study: Study, told: Mapping[str, Survey], silent: Mapping[str, str], chances: list[Expected], auroc: float
) -> Iterator[RenderableType]:
    """What the sites told, for 80 columns: patients, images, makers, and what could be shown with them."""
    yield table(("site", "patients", *SPLITS), _splits(told, surveyable(study).classes))
    yield Text()
    yield table(("site", "images", "used", "set aside, images"), _asides(told))
    yield Text()
    gaps = ["without a value, patients"] if study.clinical else []
    yield table(("site", "makers, patients", *gaps, "pixels, 5/50/95 %"), _others(told))
    if sizes := list(_sizes(told)):
        yield Text()
        yield table(("site", "along", "pixels or slices, 5/50/95 %", "mm apart, 5/50/95 %"), sizes)
    yield Text(f"\n{WITHHELD}: fewer than the site tells of, or what would betray such a number.")
    for chance in chances:
        yield Text(_chance(chance, auroc))
    if not has_scale(study.images):
        yield Text(_scale(landmarks_of(told.values(), study.images), [survey.intensity for survey in told.values()]))
    for site, why in silent.items():
        yield Text(f"{site} has counted nothing: {why}.")


def _splits(told: Mapping[str, Survey], classes: tuple[str, ...]) -> Iterator[tuple[object, ...]]:
    for site, survey in told.items():
        parts = [survey.splits[name] for name in SPLITS]
        yield site, "all", *(_cell(part.patients) for part in parts)
        for name in classes:
            yield "", name, *(_cell(part.classes.get(name)) for part in parts)


def _asides(told: Mapping[str, Survey]) -> Iterator[tuple[object, ...]]:
    for site, survey in told.items():
        yield site, _cell(survey.found), _cell(survey.used), _listed(survey.set_aside)


def _others(told: Mapping[str, Survey]) -> Iterator[tuple[object, ...]]:
    for site, survey in told.items():
        gaps = [_listed(survey.missing)] if survey.missing else []
        yield site, _listed(survey.vendors), *gaps, _pixels(survey)


def _sizes(told: Mapping[str, Survey]) -> Iterator[tuple[object, ...]]:
    """Each site's percentiles, axis by axis; the site is named once."""
    for site, survey in told.items():
        for number, axis in enumerate(axis for axis in AXES if axis in survey.size_px):
            spacing = survey.spacing_mm.get(axis)
            said = _listed_percentiles(spacing, "{:g}") if spacing else "not said"
            yield "" if number else site, axis, _listed_percentiles(survey.size_px[axis], "{:,}"), said


def _listed_percentiles(values: Iterable[float | None], form: str) -> str:
    return " ".join(WITHHELD if value is None else form.format(value) for value in values)


def _pixels(survey: Survey) -> str:
    return WITHHELD if survey.intensity is None else " ".join(f"{share:.2f}" for share in survey.intensity)


def _scale(landmarks: tuple[float, ...] | None, told: Sequence[object]) -> str:
    if landmarks is not None:
        places = ", ".join(f"{place:g}" for place in landmarks)
        return f"To bring all images onto the sites' middle scale, write under [images]: landmarks = [{places}]"
    if sum(one is not None for one in told) < FEWEST_SITES:
        return (
            f"No scale for images.landmarks: fewer than {FEWEST_SITES} sites told of their pixels, and of two each"
            " could work out the other's."
        )
    return "No scale for images.landmarks: the sites' middle percentiles do not ascend."


def _listed(cells: Mapping[Any, Cell]) -> str:
    return ", ".join(f"{name} {_cell(cell)}" for name, cell in cells.items())


def _cell(cell: Cell) -> str:
    return WITHHELD if cell is None else f"{cell:,}"


def _chance(chance: Expected, auroc: float) -> str:
    if chance.width is None:
        return f"{chance.name}: the sites tell of too few test patients to say how wide an interval will be."
    return (
        f"{chance.name}: {chance.positive:,} test patients with it and {chance.negative:,} without; if the AUROC is"
        f" {auroc:g}, its 95 % interval will be {chance.width:.3f} wide."
    )
