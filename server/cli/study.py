"""`wardround study`: write, check and launch a study; the commands on one that was launched stand beside this file."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from server.cli import exporting, records, rehearsing, replaying, running, sampling, surveying
from server.cli.arguments import HERE, Backbone, Federation, Name, StartModel, about, read_study
from server.cli.explain import (
    explain_augmentation,
    explain_learning,
    explain_length,
    explain_privacy,
    explain_rounds,
    explain_scores,
    explain_selection,
    explain_size,
    explain_transfer,
)
from server.study_folder import all_studies, find_launched
from shared.command_line import typed
from shared.console import Answer, answering
from shared.durable import write_atomically
from shared.errors import ConfigError
from shared.fields import is_name
from shared.study import Study, parse_study
from shared.task_words import asked_in_words

app = typer.Typer(no_args_is_help=True, help="Coordinator: write, check, launch and watch a study.")

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

METHODS = {
    "fednova": "Each site's change is divided by how far its optimiser went, so that more steps do not pull further.",
    "fedbn": "The normalisation layers stay at each site, as its own; the final model has none.",
    "scaffold": "Half of what a site sends are control variates, which correct the local steps of all.",
}


@app.command()
@answering("study.new")
def new(path: Annotated[Path, typer.Argument(help="The study file to write.")]) -> Answer:
    """Write a study file to start from."""
    check_free(path)
    name = name_for(path)
    text = TEMPLATE.format(name=name)
    parse_study(text)
    write_atomically(path, text.encode())
    return Answer({"study": name, "file": str(path)}, f"Wrote {path}. Edit it, then: {typed('study', 'check', path)}")


@app.command()
@answering("study.clone")
def clone(
    name: Name,
    path: Annotated[Path, typer.Argument(help="The study file to write; its name becomes the study's.")],
    federation: Federation = HERE,
) -> Answer:
    """Write a study file that asks the same as a launched study, under another name."""
    from server.backbones import BACKBONE
    from server.clone import cloned
    from server.launch import START_MODEL

    folder, new_name = find_launched(federation, name, done="cloned"), name_for(path)
    check_free(path)
    if new_name in {known.name for known in all_studies(federation)}:
        raise ConfigError(f"A study named {new_name} exists already.", remedy="Name the file otherwise.")
    study = folder.study()
    write_atomically(path, cloned(study, source=folder.source(), name=new_name).encode())
    start = str(folder.path / START_MODEL) if study.model.start_sha256 else None
    backbone = str(folder.path / BACKBONE) if study.backbone else None
    files = {"--start-model": start, "--backbone": backbone}
    pinned = "".join(f"\nTo launch it, add {option} {file}" for option, file in files.items() if file)
    data = {"study": new_name, "file": str(path), "from": name, "start_model": start, "backbone": backbone}
    return Answer(data, f"Wrote {path}. Edit it, then: {typed('study', 'check', path)}{pinned}")


@app.command()
@answering("study.check")
def check(
    path: Annotated[Path, typer.Argument(help="The study file.")],
    labels: Annotated[
        Path | None, typer.Option(help="Training images by site and class, TOML: advise a method.")
    ] = None,
) -> Answer:
    """Explain a study in plain words, and how large its model is."""
    from server.advice import advise, read_labels
    from server.launch import start_state, whole_table
    from server.report.privacy import privacy_of
    from shared.update import model_table, table_of, update_table

    study = read_study(path)
    privacy = privacy_of(study, committed=0)
    drawn, transfer = table_of(start_state(study)), study.transfer
    tensors = model_table(drawn, transfer.model_dtype)
    sent = update_table(drawn, transfer.update_dtype) if study.training else ()
    size, update = (sum(tensor.nbytes for tensor in table) for table in (tensors, sent))
    frozen = sum(t.nbytes for t in whole_table(study)) - sum(t.nbytes for t in drawn) if study.freezes else 0
    words = explain_study(study, model_bytes=size, frozen_bytes=frozen)
    advice = advise(read_labels(labels)) if labels else None
    words += [advice.words()] if advice else []
    data = {"study": study.name, "digest": study.digest(), "model_bytes": size, "tensors": len(tensors)}
    data |= {"update_bytes": update, "frozen_bytes": frozen}
    data |= {"advised": advice._asdict() if advice else None, "privacy": asdict(privacy) if privacy else None}
    return Answer(data | {"explained": words}, "\n".join(f"- {line}" for line in words))


@app.command()
@answering("study.launch")
def launch(
    path: Annotated[Path, typer.Argument(help="The study file.")],
    federation: Federation = HERE,
    start_model: StartModel = None,
    backbone: Backbone = None,
) -> Answer:
    """Queue a study; the running server starts it."""
    from server.cohort import choose
    from server.federation import load_federation
    from server.launch import launch as queue
    from shared.clock import utc_now

    study = read_study(path)
    sites = load_federation(federation).roster.sites()
    rounds = study.rounds
    cohort = choose(sites, rounds.sites, quorum=rounds.quorum, sample=rounds.sample, buffer=rounds.buffer)
    source, now = path.read_text(encoding="utf-8"), utc_now()
    folder = queue(federation, study, source=source, start_model=start_model, backbone=backbone, now=now)
    follow = about("watch", study.name, federation)
    return Answer(
        {"study": study.name, "digest": study.digest(), "cohort": list(cohort), "folder": str(folder.path)},
        f"Study {study.name} is queued for {', '.join(cohort)}.\nFollow it: {follow}",
    )


def check_free(path: Path) -> None:
    """Whether a new file can be written there.

    Raises:
        ConfigError: something is there already, or the folder is missing.
    """
    if path.exists():
        raise ConfigError(f"{path} exists already.", remedy="Name a new file.")
    if not path.parent.is_dir():
        raise ConfigError(f"There is no folder {path.parent}.", remedy="Make it first, or name another.")


def name_for(path: Path) -> str:
    """The name of the study that a file is for.

    Raises:
        ConfigError: no study can be called as the file is.
    """
    name = path.stem.lower().replace("_", "-")
    if not is_name(name):
        raise ConfigError(
            f"{path.name!r} cannot name a study.", remedy="Use a-z, 0-9 and hyphens, such as pneumonia.toml."
        )
    return name


def explain_study(study: Study, *, model_bytes: int, frozen_bytes: int = 0) -> list[str]:
    """The study in plain words, one sentence each; the bytes are those of what travels and of what is frozen."""
    task, train, rounds = study.task, study.training, study.rounds
    lines = [
        f"The study {study.name} {'trains' if train else 'scores'} the model {study.model.name}"
        f" to tell {asked_in_words(task)}; images are of {study.images.seen_words}.",
        *([f"Beside each image it takes {', '.join(study.clinical)}."] if study.clinical else []),
        *explain_size(study.backbone, model_bytes=model_bytes, frozen_bytes=frozen_bytes),
        f"It asks {'every site on the roster' if not rounds.sites else ', '.join(rounds.sites)};"
        f" a round counts with at least {rounds.quorum} of them and waits at most {rounds.deadline_s:.0f} s.",
        *explain_rounds(rounds),
    ]
    if train is not None:
        work = explain_length(train)
        lines.append(
            f"In each of {rounds.count} rounds a site takes {work} of {train.optimizer}"
            f" (learning rate {train.learning_rate:g}, batches of {train.batch_size}), by {train.algorithm}."
        )
        lines += [*explain_augmentation(study.images.augment), *explain_learning(train)]
        move = study.server.model_dump(exclude={"optimizer"}, exclude_none=True)
        numbers = ", ".join(f"{key.replace('_', ' ')} {value:g}" for key, value in move.items())
        lines.append(f"After each round the server moves the model by {study.server.optimizer} ({numbers}).")
        lines += [METHODS[train.algorithm]] if train.algorithm in METHODS else []
        lines += explain_transfer(study.transfer)
        lines += explain_selection(
            study.selection, rounds=rounds.count, model_bytes=model_bytes, sites=study.cross_sites
        )
    return [*lines, *explain_privacy(study), explain_scores(study)]


for part in (running, records, replaying, rehearsing, surveying, exporting, sampling):
    app.registered_commands += part.app.registered_commands
