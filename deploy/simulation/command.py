"""The `wardround simulate` command: a whole study over virtual sites, and what the federation cost."""

import importlib.util
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from shared.console import Answer, answering, facts, progress_console
from shared.errors import ConfigError

app = typer.Typer(help="Run a study over many virtual sites on this machine.")


class Engine(StrEnum):
    """Who answers for the sites."""

    IN_PROCESS = "in-process"
    RAY = "ray"


StudyFile = Annotated[Path | None, typer.Argument(help="The study; without one, it follows from the images.")]
Npz = Annotated[Path | None, typer.Option(help="Images as one .npz; without one, some are drawn.")]
Sites = Annotated[int, typer.Option(min=1, max=10_000, help="Number of virtual sites.")]
Rounds = Annotated[int | None, typer.Option(min=1, max=100_000, help="Instead of the study's own number.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of pictures, partition and a derived study.")]
Cluster = Annotated[str | None, typer.Option(help="Address of a Ray cluster; means --engine ray.")]
Cores = Annotated[int | None, typer.Option(min=1, max=1024, help="Cores to use here; all unless said.")]
PlainLoop = Annotated[bool, typer.Option(help="Time one round of the same work without federation, too.")]
Keep = Annotated[Path | None, typer.Option(help="A new folder for everything; without it, nothing stays.")]


@app.command()
@answering("simulate")
def simulate(
    study_file: StudyFile = None,
    *,
    npz: Npz = None,
    partition: Annotated[str, typer.Option(help="iid, dirichlet:ALPHA or natural (with --npz).")] = "iid",
    sites: Sites = 10,
    rounds: Rounds = None,
    seed: Seed = 0,
    engine: Annotated[Engine, typer.Option(help="Who answers for the sites.")] = Engine.IN_PROCESS,
    cluster: Cluster = None,
    cores: Cores = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "cpu",
    plain_loop: PlainLoop = True,
    keep: Keep = None,
) -> Answer:
    """Run a study over many virtual sites on this machine."""
    ray = engine is Engine.RAY or cluster is not None
    if ray and importlib.util.find_spec("ray") is None:
        raise ConfigError("Ray is not installed here.", remedy="Install wardround[simulation], or use in-process.")
    from deploy.bench.bed import workplace
    from deploy.simulation.in_process import available_cores
    from deploy.simulation.run import run
    from deploy.simulation.virtual import Wish

    wish = Wish(study_file, npz, partition, sites, rounds, seed, device)
    with workplace(keep) as root:
        found = run(
            root,
            wish,
            ray=ray,
            cluster=cluster,
            cores=cores or available_cores(),
            plain_loop=plain_loop,
            say=progress_console().print,
        )
    data = found if keep else {**found, "study_folder": None}
    return Answer(data, show(data))


def show(data: dict[str, Any]) -> RenderableType:
    """The same facts in two columns."""
    shown = {
        "study": f"{data['study']}, {data['sites']} sites, {data['rounds']} rounds, {data['engine']}",
        "a round": f"{data['seconds_per_round']:.2f} s ({_range(data['seconds'])})",
        "memory, peak": f"{data['rss_peak_bytes'] / 1e6:.0f} MB",
        "model": data["weights_sha256"],
    }
    if "ratio" in data:
        loop = (
            f"{data['plain_loop_s']:.2f} s ({_range(data['plain_loops'])}) on {data['lanes'] or 'as many'} threads,"
            f" {data['one_core_s']:.2f} s on one"
        )
        shown |= {"bare loop": loop, "ratio": f"{data['ratio']:.2f}, {data['ratio_to_one_core']:.2f} to one thread"}
    if data["study_folder"]:
        shown["kept in"] = data["study_folder"]
    return facts(shown)


def _range(seconds: Sequence[float]) -> str:
    return f"{min(seconds):.2f} to {max(seconds):.2f}"
