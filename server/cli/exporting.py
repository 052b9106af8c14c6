"""`wardround study export`: a finished study's model as a signed package."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.text import Text

from server.cli.arguments import HERE, Federation, Name
from server.cli.lettering import Lettered, names_of, show_key
from server.study_folder import find_launched
from shared.console import Answer, answering, facts
from shared.keys import fingerprint, identity_hex
from shared.model_package import Format
from shared.small_cells import SMALLEST_CELL

if TYPE_CHECKING:
    from server.export import Exported

app = typer.Typer()


@app.command()
@answering("study.export")
def export(
    name: Name,
    federation: Federation = HERE,
    *,
    out: Annotated[Path, typer.Option("--out", help="The new folder of the package.")],
    form: Annotated[
        Format, typer.Option("--format", help="Weights and card alone, a MONAI bundle, or ONNX.")
    ] = "safetensors",
    specificity: Annotated[
        float | None,
        typer.Option(help="Cut where validation patients have this specificity; else Youden's.", min=0.01, max=1.0),
    ] = None,
    smallest: Annotated[
        int, typer.Option("--smallest-cell", help="The least count of patients that the card tells.", min=1)
    ] = SMALLEST_CELL,
    letters: Lettered = False,
) -> Answer:
    """Write the final model with its card, signed, for those who are to use it."""
    from server.export import Asked, evidence_for, export_model, survey_for
    from server.federation import load_federation
    from shared.clock import utc_now

    folder, known = find_launched(federation, name, done="exported"), load_federation(federation)
    named, _ = evidence_for(folder, roster=None)
    surveyed = survey_for(federation, named, keys=known.coordinator_keys)
    evidence, key = evidence_for(folder, roster=names_of(federation)) if letters else (named, {})
    asked = Asked(
        federation="" if letters else known.roster.federation,
        made=utc_now(),
        specificity=specificity,
        smallest=smallest,
        surveyed=surveyed.by_letter(key) if surveyed and letters else surveyed,
    )
    sign, keys = known.coordinator_key, known.coordinator_keys
    done = export_model(folder, evidence, asked, to=out, form=form, key=sign, keys=keys)
    coordinator = identity_hex(known.coordinator_key.public_key())
    data: dict[str, Any] = {"study": name, "folder": str(done.folder), "format": form, "files": list(done.files)}
    data |= {"model": done.card.weights.sha256, "coordinator": coordinator, "card": done.card.model_dump(mode="json")}
    shown = _shown(done, coordinator)
    if not letters:
        return Answer(data, shown)
    return Answer(data | {"letters": key}, Group(shown, show_key(key)))


def _shown(done: "Exported", coordinator: str) -> Group:
    card = done.card
    said = {
        "package": done.folder,
        "model": card.weights.sha256,
        "calibration": card.calibration.words,
        "operating point": card.operating.words,
        "set aside": f"told by {len(card.flow.found)} of {len(card.flow.sites)} sites, on {card.flow.surveyed}"
        if card.flow.found
        else "not known: no site was asked by `wardround study cohort`, or none tells",
        "coordinator's key": coordinator,
        "its fingerprint": fingerprint(coordinator),
    }
    table = " --clinical TABLE" if card.inputs.clinical else ""
    after = (
        f"\nFor people: {done.folder / 'model-card.html'}. A hospital of the federation runs it by\n"
        f"wardround predict --model {done.folder} --input IMAGES{table} --out RESULTS; others name the key with"
        " --coordinator."
    )
    return Group(facts(said), Text(after))
