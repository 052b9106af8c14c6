"""`wardround study sample`: images that a generative model draws, for the coordinator to look at."""

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from server.cli.arguments import HERE, Federation, Name
from server.study_folder import find_launched
from shared.console import Answer, answering, facts
from shared.errors import ConfigError

app = typer.Typer()


@app.command()
@answering("study.sample")
def sample(
    name: Name,
    federation: Federation = HERE,
    *,
    out: Annotated[Path, typer.Option("--out", help="The new folder of the images.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many to draw.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> Answer:
    """Draw images from the final model of a study that learns to draw; each is marked as synthetic."""
    from server.export import evidence_for, insist_on_final
    from server.federation import load_federation
    from shared.drawing import draw_images

    folder, known = find_launched(federation, name, done="sampled"), load_federation(federation)
    evidence, _ = evidence_for(folder, roster=None)
    if evidence.study.task.kind != "generation":
        raise ConfigError(
            f"{name} learns no images: its task is {evidence.study.task.kind}.",
            remedy='Draw from a study with task.kind = "generation".',
        )
    insist_on_final(folder, evidence, known.coordinator_keys)
    if out.exists():
        raise ConfigError(f"{out} is there already.", remedy="Name a new folder with --out.")
    images = draw_images(evidence.study, folder.path / evidence.model_file.path, count=count, seed=seed)
    mark = PngInfo()
    mark.add_text("Description", _marked(name, str(evidence.history.final_digest)))
    out.mkdir(parents=True)
    files = [f"synthetic-{number:04d}.png" for number in range(1, count + 1)]
    for file, image in zip(files, images, strict=True):
        Image.fromarray(image).save(out / file, pnginfo=mark)
    data = {"study": name, "folder": str(out), "model": evidence.history.final_digest, "seed": seed, "files": files}
    return Answer(data, facts({"images": f"{count} in {out}", "of the model": evidence.history.final_digest}))


def _marked(study: str, model: str) -> str:
    return (
        f"SYNTHETIC: drawn by the model {model} of the study {study}; of no patient, unless the model memorised one."
        " Research use only, not for diagnosis."
    )
