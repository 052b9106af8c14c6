"""`wardround study`: write, check, launch and follow a study."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from server.cli.standing import WAITING, show_standing, standing_of, typed
from server.study_folder import StudyState, all_studies, find_study
from shared.console import Answer, answering, progress_console, table
from shared.errors import ConfigError, StudyError
from shared.study import Study, parse_study

app = typer.Typer(no_args_is_help=True, help="Coordinator: write, check, launch and watch a study.")

Name = Annotated[str, typer.Argument(help="The study's name.")]
Federation = Annotated[Path, typer.Option("--federation", "-f", help="The federation's folder.")]
HERE = Path()
TURN_S = 0.5
ENDED = (StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED)

TEMPLATE = """\
# A federated study. Every key and its default: docs/study.md
[study]
name = "{name}"
kind = "train"

[task]
mode = "binary"
classes = ["opacity"]  # the positive class, as in the sites' label tables

[images]
size_px = 64

[model]
name = "basic_cnn"

[training]
optimizer = "sgd"
learning_rate = 0.05
batch_size = 32
epochs_per_round = 1

[rounds]
count = 10
quorum = 2
deadline_s = 3600
"""


@app.command()
@answering("study.new")
def new(path: Annotated[Path, typer.Argument(help="The study file to write.")]) -> Answer:
    """Write a study file to start from."""
    if path.exists():
        raise ConfigError(f"{path} exists already.", remedy="Name a new file.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent}.", remedy="Make it first, or name another.")
    name = path.stem.lower().replace("_", "-")
    text = TEMPLATE.format(name=name)
    parse_study(text)
    path.write_text(text, encoding="utf-8")
    return Answer({"study": name, "file": str(path)}, f"Wrote {path}. Edit it, then: wardround study check {path}")


@app.command()
@answering("study.check")
def check(path: Annotated[Path, typer.Argument(help="The study file.")]) -> Answer:
    """Explain a study in plain words, and how large its model is."""
    from server.launch import start_state
    from shared.update import table_of

    study = read_study(path)
    tensors = table_of(start_state(study))
    size = sum(tensor.nbytes for tensor in tensors)
    words = explain_study(study, model_bytes=size)
    data = {"study": study.name, "digest": study.digest(), "model_bytes": size, "tensors": len(tensors)}
    return Answer(data | {"explained": words}, "\n".join(f"- {line}" for line in words))


@app.command()
@answering("study.launch")
def launch(
    path: Annotated[Path, typer.Argument(help="The study file.")],
    federation: Federation = HERE,
    start_model: Annotated[Path | None, typer.Option(help="The model file that the study pins.")] = None,
) -> Answer:
    """Queue a study; the running server starts it."""
    from server.cohort import choose
    from server.desk import utc_now
    from server.federation import load_federation
    from server.launch import launch as queue

    study = read_study(path)
    sites = load_federation(federation).roster.sites()
    cohort = choose(sites, study.rounds.sites, quorum=study.rounds.quorum)
    folder = queue(federation, study, source=path.read_text(encoding="utf-8"), start_model=start_model, now=utc_now())
    follow = _about("watch", study.name, federation)
    return Answer(
        {"study": study.name, "digest": study.digest(), "cohort": list(cohort), "folder": str(folder.path)},
        f"Study {study.name} is queued for {', '.join(cohort)}.\nFollow it: {follow}",
    )


@app.command()
@answering("study.status")
def status(name: Name, federation: Federation = HERE) -> Answer:
    """Show where a study stands and what each site is doing."""
    folder = find_study(federation, name)
    data = standing_of(folder, federation=federation)
    return Answer(data, show_standing(data))


@app.command(name="list")
@answering("study.list")
def list_studies(federation: Federation = HERE) -> Answer:
    """List the studies of a federation."""
    found = [standing_of(folder, federation=federation) for folder in all_studies(federation)]
    rows = (
        (
            s["study"],
            s["state"] + (", not served" if s["waits"] else ""),
            f"{s['committed']}/{s['rounds']}",
            s["since"][:19],
        )
        for s in found
    )
    return Answer({"studies": found}, table(("study", "state", "rounds", "since"), rows))


@app.command()
@answering("study.watch")
def watch(name: Name, federation: Federation = HERE) -> Answer:
    """Follow a study until it ends; Ctrl-C leaves it running."""
    folder = find_study(federation, name)
    console, told = progress_console(), False
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        while (data := standing_of(folder, federation=federation))["state"] not in ENDED:
            live.update(show_standing(data))
            if data["waits"] and not told and not console.is_terminal:  # where nothing is drawn
                console.print(f"{WAITING} {data['waits']}", soft_wrap=True)
            told = bool(data["waits"])
            time.sleep(TURN_S)
    error = None
    if data["state"] == StudyState.FAILED:
        error = StudyError(data["reason"] or "The study failed.", remedy=data["remedy"] or "See its journal.")
    return Answer(data, show_standing(data), error)


@app.command()
@answering("study.stop")
def stop(name: Name, federation: Federation = HERE) -> Answer:
    """Stop a study after the messages in hand; it can be resumed."""
    from server.desk import utc_now

    folder = find_study(federation, name)
    state = folder.standing().state
    if state in ENDED:
        raise StudyError(f"The study {name} is {state.value} already.", remedy="There is nothing to stop.")
    folder.ask_to_stop()  # also where it is queued: its process may be starting at this moment
    if state is StudyState.QUEUED:
        folder.move(StudyState.STOPPED, now=utc_now(), reason="The coordinator asked to stop.")
    see = _about("status", name, federation)
    return Answer({"study": name}, f"The study {name} is asked to stop; see: {see}")


@app.command()
@answering("study.resume")
def resume(name: Name, federation: Federation = HERE) -> Answer:
    """Let a stopped or failed study go on from its last committed round."""
    from server.desk import utc_now

    folder = find_study(federation, name)
    state = folder.standing().state
    if state not in (StudyState.STOPPED, StudyState.FAILED):
        raise StudyError(
            f"The study {name} is {state.value}; only a stopped or failed study is resumed.",
            remedy=f"See `{_about('status', name, federation)}`.",
        )
    folder.clear_stop()
    folder.move(StudyState.QUEUED, now=utc_now())
    return Answer({"study": name}, f"The study {name} is queued again.")


@app.command()
@answering("study.report")
def report(name: Name, federation: Federation = HERE) -> Answer:
    """Write the study's report, one self-contained HTML file."""
    from server.report import report_data, write_report

    folder = find_study(federation, name)
    path = write_report(folder)
    data = {"study": name, "report": str(path), "csv": str(path.with_suffix(".csv"))}
    return Answer(
        data | {"facts": report_data(folder)}, f"The report is {path}\nIts figures are in report.csv beside it."
    )


def _about(verb: str, name: str, federation: Path) -> str:
    """The whole command about a study that can be typed where this one was."""
    return typed("study", verb, name, *(() if federation == HERE else ("-f", federation)))


def read_study(path: Path) -> Study:
    """A study from its file.

    Raises:
        ConfigError: the file is absent or cannot be used.
    """
    try:
        return parse_study(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ConfigError(
            f"There is no readable study file at {path}.", remedy="Write one with `wardround study new FILE`."
        ) from None


def explain_study(study: Study, *, model_bytes: int) -> list[str]:
    """The study in plain words, one sentence each."""
    task, train, rounds = study.task, study.training, study.rounds
    images = f"{study.images.size_px} x {study.images.size_px} px, {study.images.channels} channel(s)"
    lines = [
        f"The study {study.name} {'trains' if train else 'scores'} the model {study.model.name}"
        f" to tell {task.mode} {', '.join(task.classes)} from images of {images}.",
        f"The model has {model_bytes:,} bytes; a site sends as much per round, and never an image.",
        f"It asks {'every site on the roster' if not rounds.sites else ', '.join(rounds.sites)};"
        f" a round counts with at least {rounds.quorum} of them and waits at most {rounds.deadline_s:.0f} s.",
    ]
    if train is not None:
        work = f"{train.epochs_per_round} epoch(s)" if train.epochs_per_round else f"{train.steps_per_round} step(s)"
        lines.append(
            f"In each of {rounds.count} rounds a site takes {work} of {train.optimizer}"
            f" (learning rate {train.learning_rate:g}, batches of {train.batch_size}), by {train.algorithm}."
        )
        move = study.server.model_dump(exclude={"optimizer"}, exclude_none=True)
        numbers = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in move.items())
        lines.append(f"After each round the server moves the model by {study.server.optimizer} ({numbers}).")
    lines.append("The final model is scored once on test patients of every site.")
    return lines
