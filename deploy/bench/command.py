"""The `wardround bench` words: each breaks or measures this installation and says so in one JSON object.

A benchmark is a module here with three functions, imported when its word is typed:

    run(...) -> dict       does the work; JSON values only, progress on standard error
    show(data) -> ...      the same facts as a table for 80 columns
    missed(data) -> ...    the promises that did not hold, one sentence each; none is success

The app adds `machine`, taken before the work, and turns a missed promise into the exit code.
"""

from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import RenderableType

from shared.console import Answer, answering
from shared.errors import ConfigError, StudyError

app = typer.Typer(help="Measure and break this installation, with figures.", no_args_is_help=True)

Facts = dict[str, Any]
Keep = Annotated[Path | None, typer.Option(help="A new folder for everything; without it, nothing stays.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the pictures and the study.")]


@app.command()
@answering("bench.resume")
def resume(
    kill: Annotated[str, typer.Option(help="Whom to kill, in turn.")] = "site,worker,serverapp,superlink",
    device: Annotated[str, typer.Option(help="Where the sites compute: auto, cpu, cuda, cuda:N or mps.")] = "cpu",
    seed: Seed = 0,
    keep: Keep = None,
) -> Answer:
    """Kill each kind of process in the middle of a round; the model must come out bit for bit the same."""
    from deploy.bench.resume import missed, run, show

    return _answer(
        lambda: run(victims=tuple(kill.split(",")), device=device, seed=seed, keep=keep), show=show, missed=missed
    )


@app.command()
@answering("bench.faults")
def faults(
    runs: Annotated[int, typer.Option(min=1, help="How many faults strike, one in each study.")] = 12,
    seed: Seed = 0,
    keep: Keep = None,
) -> Answer:
    """Kill, stop, restart, cut off, fill and starve whatever there is; the study must come out right."""
    from deploy.bench.faults import missed, run, show

    return _answer(lambda: run(runs=runs, seed=seed, keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.admission")
def admission(seed: Seed = 0, keep: Keep = None) -> Answer:
    """Let one hostile site send what must not count; the study goes on with the honest ones."""
    from deploy.bench.admission import missed, run, show

    return _answer(lambda: run(seed=seed, keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.door")
def door(keep: Keep = None) -> Answer:
    """Offer a site's door what was not agreed, from within; no byte of it may leave."""
    from deploy.bench.door import missed, run, show

    return _answer(lambda: run(keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.intruders")
def intruders(keep: Keep = None) -> Answer:
    """Try every way in without right, while honest studies go on; none may get in or disturb them."""
    from deploy.bench.intruders import missed, run, show

    return _answer(lambda: run(keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.rounds")
def rounds(
    sites: Annotated[int, typer.Option(min=1, help="Number of sites.")] = 4,
    mb: Annotated[str, typer.Option(help="Model sizes in MB, divided by commas.")] = "1,45",
    repetitions: Annotated[int, typer.Option(min=1, help="Measured rounds of each size.")] = 5,
) -> Answer:
    """Time a round with ours and with the stock engine."""
    from deploy.bench.rounds import missed, run, show

    sizes = _numbers(mb, "--mb")
    return _answer(lambda: run(sites=sites, sizes_mb=sizes, repetitions=repetitions), show=show, missed=missed)


@app.command()
@answering("bench.memory")
def memory(
    sites: Annotated[str, typer.Option(help="Numbers of sites, divided by commas.")] = "4,16",
    mb: Annotated[int, typer.Option(min=1, help="Model size in MB.")] = 100,
) -> Answer:
    """Measure how the server's memory grows with the number of sites."""
    from deploy.bench.memory import missed, run, show

    counts = _numbers(sites, "--sites")
    return _answer(lambda: run(sites=counts, model_mb=mb), show=show, missed=missed)


@app.command()
@answering("bench.methods")
def methods(
    *,
    npz: Annotated[Path | None, typer.Option(help="Compare the methods on this .npz, too.")] = None,
    partition: Annotated[str, typer.Option(help="iid, dirichlet:ALPHA or natural.")] = "dirichlet:0.3",
    sites: Annotated[int, typer.Option(min=1, max=64, help="Number of sites.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds of each study.")] = 15,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds, from 0.")] = 3,
    only: Annotated[str, typer.Option(help="Methods, divided by commas; all without it.")] = "",
    aim: Annotated[float | None, typer.Option(help="AUROC that the advised method must reach.")] = None,
) -> Answer:
    """Compare our optimizers with Flower's, and the methods with each other."""
    from deploy.bench.methods import METHODS, missed, run, show

    asked = tuple(only.split(",")) if only else tuple(METHODS)
    return _answer(
        lambda: run(npz=npz, scheme=partition, sites=sites, rounds=rounds, seeds=seeds, methods=asked, aim=aim),
        show=show,
        missed=missed,
    )


@app.command()
@answering("bench.buffered")
def buffered(
    *,
    npz: Annotated[Path | None, typer.Option(help="Images as one .npz; without one, some are drawn.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the study that waits for everybody.")] = 6,
    slower: Annotated[int, typer.Option(min=2, max=50, help="How many times the images of the slow site.")] = 10,
    seed: Seed = 0,
    keep: Keep = None,
) -> Answer:
    """Run rounds that wait for a slow site beside buffered ones; its updates must count, once each."""
    from deploy.bench.buffered import missed, run, show

    return _answer(lambda: run(npz=npz, rounds=rounds, slower=slower, seed=seed, keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.soak")
def soak(
    rounds: Annotated[int, typer.Option(min=5, help="Rounds of the study.")] = 1000,
    sites: Annotated[int, typer.Option(min=1, help="Number of sites.")] = 4,
    seed: Seed = 0,
    keep: Keep = None,
) -> Answer:
    """Run a long study of a tiny model; nothing may grow with its rounds."""
    from deploy.bench.soak import missed, run, show

    return _answer(lambda: run(rounds=rounds, sites=sites, seed=seed, keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.crowd")
def crowd(
    sites: Annotated[int, typer.Option(min=1, help="Number of sites.")] = 64,
    mb: Annotated[int, typer.Option(min=1, help="Model size in MB.")] = 1,
    rounds: Annotated[int, typer.Option(min=3, help="Rounds, of which the first and the last do not count.")] = 5,
) -> Answer:
    """Measure what many waiting sites, and their rounds, cost the server."""
    from deploy.bench.crowd import missed, run, show

    return _answer(lambda: run(sites=sites, model_mb=mb, rounds=rounds), show=show, missed=missed)


@app.command()
@answering("bench.simulate")
def simulate(
    *,
    sites: Annotated[int, typer.Option(min=2, help="Number of virtual sites.")] = 100,
    few: Annotated[int, typer.Option(min=1, help="The number whose memory is compared.")] = 10,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each study.")] = 3,
    npz: Annotated[Path | None, typer.Option(help="Images as one .npz; without one, some are drawn.")] = None,
    peers: Annotated[Path | None, typer.Option(help="Folder with run_pfl.py, to run pfl beside ours.")] = None,
    pfl_python: Annotated[Path | None, typer.Option(help="A Python that has pfl (with --peers).")] = None,
) -> Answer:
    """Measure what federation costs over many virtual sites in one process."""
    from deploy.bench.simulate import missed, run, show

    return _answer(
        lambda: run(few=few, sites=sites, rounds=rounds, npz=npz, peers=peers, python=pfl_python),
        show=show,
        missed=missed,
    )


@app.command()
@answering("bench.budget")
def budget(
    kill_at: Annotated[str, typer.Option(help="every-write, or N for each N-th.")] = "every-write",
    keep: Keep = None,
) -> Answer:
    """Kill a site at each durable write of its privacy budget; no patient may pay too little."""
    from deploy.bench.budget import missed, run, show

    every = 1 if kill_at == "every-write" else _numbers(kill_at, "--kill-at")[0]
    return _answer(lambda: run(every=every, keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.privacy")
def privacy(
    *,
    epsilon: Annotated[str, typer.Option(help="Epsilons, divided by commas; inf trains plainly.")] = "8,inf",
    npz: Annotated[Path | None, typer.Option(help="Images as one .npz; without one, PneumoniaMNIST if here.")] = None,
    partition: Annotated[str, typer.Option(help="iid, dirichlet:ALPHA or natural.")] = "iid",
    sites: Annotated[int, typer.Option(min=1, max=64, help="Number of sites.")] = 4,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds of each study, of 5 steps.")] = 12,
    rate: Annotated[float, typer.Option(min=0.001, max=1, help="Probability that a patient enters a step.")] = 0.2,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds, from 0.")] = 3,
) -> Answer:
    """Train at several epsilons, and measure what one patient can change."""
    from deploy.bench.privacy import epsilons_of, missed, run, show

    asked = epsilons_of(epsilon)
    return _answer(
        lambda: run(epsilons=asked, npz=npz, scheme=partition, sites=sites, rounds=rounds, rate=rate, seeds=seeds),
        show=show,
        missed=missed,
    )


@app.command()
@answering("bench.decode")
def decode(folder: Annotated[Path, typer.Option(help="A folder of DICOM files that you trust.")]) -> Answer:
    """Compare what a site decodes with pydicom's own values, file by file."""
    from deploy.bench.decode import missed, run, show

    return _answer(lambda: run(folder), show=show, missed=missed)


@app.command("data")
@answering("bench.data")
def supply(
    *,
    gb: Annotated[float, typer.Option(min=0.01, help="Size of the large catalogue's cache in GB.")] = 1.0,
    files: Annotated[int, typer.Option(min=8, help="Number of files whose reading is timed.")] = 96,
    repetitions: Annotated[int, typer.Option(min=1, help="Measured repetitions of each way to read.")] = 5,
    seed: Seed = 0,
) -> Answer:
    """Time how images are read, cold and warm, and what a site holds of a catalogue larger than its memory."""
    from deploy.bench.supply import missed, run, show

    return _answer(lambda: run(gb=gb, files=files, repetitions=repetitions, seed=seed), show=show, missed=missed)


@app.command()
@answering("bench.train")
def train(
    *,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    model: Annotated[
        Literal["basic_cnn", "resnet18", "densenet121", "efficientnet-b0"], typer.Option(help="The network.")
    ] = "resnet18",
    size_px: Annotated[str, typer.Option(help="Edges of an image in px, divided by commas.")] = "64,224",
    batch: Annotated[str, typer.Option(help="Images of a step, divided by commas.")] = "32",
    images: Annotated[int, typer.Option(min=8, help="Images of an epoch.")] = 256,
    threads: Annotated[int, typer.Option(min=0, help="CPU threads; 0 leaves torch's own choice.")] = 0,
    repetitions: Annotated[int, typer.Option(min=1, help="Measured epochs of each way.")] = 5,
) -> Answer:
    """Time a site's training on a device, beside a plain loop of torch, and on the CPU."""
    from deploy.bench.train import missed, run, show

    kinds = product(_numbers(size_px, "--size-px"), _numbers(batch, "--batch"))
    how = {"images": images, "threads": threads, "repetitions": repetitions}
    return _answer(lambda: run(device=device, model=model, kinds=kinds, **how), show=show, missed=missed)


@app.command()
@answering("bench.hostile")
def hostile(
    folder: Annotated[Path, typer.Option(help="Sound DICOM, NIfTI, picture or .npz files; damaged in copies.")],
    seconds: Annotated[int, typer.Option(min=1, help="How long; a folder that is begun is finished.")] = 180,
    seed: Seed = 0,
) -> Answer:
    """Let a site read damaged and malicious image files; each may cost itself alone."""
    from deploy.bench.hostile import missed, run, show

    return _answer(lambda: run(folder, seconds=seconds, seed=seed), show=show, missed=missed)


@app.command()
@answering("bench.pacs")
def pacs(
    patients: Annotated[int, typer.Option(min=24, help="Patients of the phantom hospital in the PACS.")] = 24,
    seed: Seed = 0,
    keep: Keep = None,
) -> Answer:
    """Pull from a real PACS over a line that is cut, kill the pull, and train on what came."""
    from deploy.bench.pacs import missed, run, show

    return _answer(lambda: run(patients=patients, seed=seed, keep=keep), show=show, missed=missed)


@app.command()
@answering("bench.explain")
def explain(
    demo: Annotated[Path, typer.Option(help="A kept demo of an array file with masks.")],
    images: Annotated[int, typer.Option(min=1, max=100_000, help="Test images that are explained, at most.")] = 200,
    seed: Seed = 0,
) -> Answer:
    """Hold what Grad-CAM and occlusion point at against the outlines of the test images."""
    from tempfile import TemporaryDirectory

    from deploy.bench.explain import missed, run, show

    with TemporaryDirectory(prefix="wardround-bench-") as scratch:
        place = Path(scratch)
        return _answer(lambda: run(demo, images=images, seed=seed, scratch=place), show=show, missed=missed)


def _answer(
    run: Callable[[], Facts],
    *,
    show: Callable[[Facts], RenderableType],
    missed: Callable[[Facts], Iterable[str]],
) -> Answer:
    from deploy.bench.machine import describe

    data = {"machine": describe()} | run()
    broken = list(missed(data))
    error = StudyError(" ".join(broken), remedy="Compare the figures with those of the last release.")
    return Answer(data, show(data), error if broken else None)


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise ConfigError(
            f"{option} takes whole numbers above zero, divided by commas; found {text!r}.",
            remedy=f"Write for example {option} 4,16.",
        )
    return numbers
