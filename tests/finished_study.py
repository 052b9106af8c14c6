"""A finished study in a federation's folder, without anybody having trained; its journal and its model are real."""

import itertools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from deploy.provision import Provisioned, provision
from server.federation import load_federation
from server.journal import Journal
from server.launch import launch, start_state
from server.ledger_records import SiteClosed
from server.records import (
    EpochClaimed,
    RoundCommitted,
    RoundOpened,
    SiteOpened,
    SiteScored,
    Split,
    StudyFinished,
    StudyStarted,
    UpdateAdmitted,
)
from server.study_folder import StudyFolder, StudyState, find_study
from shared.canonical import digest
from shared.ledger import timestamp
from shared.metrics import Score
from shared.study import Study, parse_study
from shared.tasks import task_for
from shared.update import pack

SITES = ("north", "south", "west")
COUNTS = {"train": 300, "validation": 150, "test": 200}
CLASSES = {"binary": '"opacity"', "multilabel": '"opacity", "effusion"', "multiclass": '"none", "left", "right"'}
TEXT = """\
[study]
name = "chest"
seed = 3
[task]
kind = "{kind}"
mode = "{mode}"
classes = [{classes}]
{task}
[images]
size_px = {size_px}
channels = {channels}
{images}
[model]
name = "{model}"
norm = "{norm}"
width = 16
[training]
{length}
[rounds]
count = 1
quorum = 1
{extra}
"""


class Finished(NamedTuple):
    """The study, where it lies, and the state of its final model."""

    place: Provisioned
    folder: StudyFolder
    study: Study
    state: Mapping[str, np.ndarray]


def finished_study(
    root: Path,
    *,
    kind: str = "classification",
    mode: str = "binary",
    model: str = "basic_cnn",
    norm: str = "group",
    size_px: int = 28,
    channels: int = 1,
    images: str = "",
    length: str = "epochs_per_round = 1",
    extra: str = "",
    releasing: bool = True,
    withholding: Collection[str] = (),
    counts: Mapping[str, Mapping[str, int]] | None = None,
    description: str = "",
    skew: float = 1.0,
) -> Finished:
    """Make one: three sites, one round, patients told apart well, though with logits `skew` times too large.

    Args:
        root: a new folder.
        kind, mode, model, norm, size_px, channels: of the study.
        images: further lines of its section on images.
        length: lines of its section on training.
        extra: further lines of the file.
        releasing: whether the sites release statistics that add.
        withholding: sites that withhold their scores.
        counts: by site, patients by split.
        description: of the study.
        skew: by how much logits are too large.
    """
    place = provision(root, name="lung", host="127.0.0.1", fleet_port=9, sites=list(SITES), now=1_700_000_000)
    classes = CLASSES[mode]
    parts = {"mode": mode, "classes": classes, "size_px": size_px, "channels": channels, "model": model, "norm": norm}
    task = "accept_memorisation = true" if kind == "generation" else ""
    text = TEXT.format(**parts, kind=kind, task=task, images=images, length=length, extra=extra)
    text = text.replace("seed = 3", f'seed = 3\ndescription = "{description}"')
    study = parse_study(text)
    folder = launch(place.federation, study, source=text, start_model=None, now="2026-01-01T00:00:00.000Z")
    rng = np.random.default_rng(7)
    state = {
        name: value + rng.normal(0, 0.05, value.shape).astype(np.float32) if value.dtype == np.float32 else value
        for name, value in start_state(study).items()
    }
    packed = pack(state)
    (folder.path / "models" / "round-00001.safetensors").write_bytes(packed)
    start = digest((folder.path / "models" / "start.safetensors").read_bytes())
    told: dict[str, Any] = {"releasing": releasing, "withholding": withholding, "counts": counts or {}, "skew": skew}
    _tell(place, folder, study, start=start, model=digest(packed), **told)
    folder.move(StudyState.FINISHED, now="2026-01-02T03:04:05Z")
    return Finished(place, find_study(place.federation, "chest"), study, state)


def _tell(
    place: Provisioned,
    folder: StudyFolder,
    study: Study,
    *,
    start: str,
    model: str,
    releasing: bool,
    withholding: Collection[str],
    counts: Mapping[str, Mapping[str, int]],
    skew: float,
) -> None:
    seconds = itertools.count(1_700_000_000)
    key = load_federation(place.federation).coordinator_key
    with Journal.open(folder.journal, key=key, clock=lambda: timestamp(next(seconds))) as journal:
        journal.write(StudyStarted(study="chest", study_digest=study.digest(), start_digest=start, cohort=SITES))
        journal.write(EpochClaimed(epoch=1, pid=10))
        for site in SITES:
            had: dict[str, Any] = {"patients": dict(counts.get(site, COUNTS))}
            had["examples"] = {split: 2 * n for split, n in had["patients"].items()}
            journal.write(SiteOpened(site=site, contract_digest=digest(site.encode()), device="cpu", threads=2, **had))
        journal.write(RoundOpened(round=1, epoch=1, model_digest=start, cohort=SITES))
        for site in SITES:
            update = digest(f"update of {site}".encode())
            journal.write(UpdateAdmitted(round=1, site=site, update_digest=update, examples=100, norm=1.0))
        journal.write(RoundCommitted(round=1, epoch=1, model_digest=model, previous_digest=start, counted=SITES))
        for number, site in enumerate(SITES):
            had = dict(counts.get(site, COUNTS))
            scores = tuple(
                _score(study, model, split, had[split], seed=number, releasing=releasing, skew=skew)
                for split in ("validation", "test")
            )
            kept: tuple[Split, ...] = ("validation", "test") if site in withholding else ()
            journal.write(SiteScored(site=site, model_digest=model, scores=() if kept else scores, withheld=kept))
        journal.write(StudyFinished(model_digest=model))
        for site in SITES:
            journal.write(SiteClosed(site=site, head=digest(f"ledger of {site}".encode())))


def _score(
    study: Study,
    model: str,
    split: Literal["validation", "test"],
    patients: int,
    *,
    seed: int,
    releasing: bool,
    skew: float,
) -> Score:
    rng, task = np.random.default_rng((seed, split == "test")), task_for(study.task)
    truth = rng.random((patients, task.outputs)) < 0.4
    if study.task.mode == "multiclass":
        truth = np.eye(task.outputs, dtype=bool)[rng.integers(task.outputs, size=patients)]
    logits = skew * (rng.normal(size=truth.shape) + 1.2 * (2 * truth - 1))
    if study.task.kind != "classification":
        logits = rng.random((patients, task.columns))  # Dice, HD95 and loss; or error, divergence and SSIM
    targets = truth.argmax(axis=1) if study.task.mode == "multiclass" else truth.astype(np.int64)
    score = task.score(logits, targets, model_digest=model, split=split)
    coarse = {name: round(score.figures[name], 2) for name in ("auroc",) if name in score.figures}
    return score if releasing else score.model_copy(update={"statistics": {}, "figures": coarse})
