"""A study's folder as the coordinator's house leaves it, written by the real journal in a few words."""

import hashlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.journal import Journal
from server.ledger_records import SiteClosed
from server.record import Record
from server.records import (
    EpochClaimed,
    ModelChosen,
    OwnModelCompared,
    OwnModelMade,
    OwnModelScored,
    RoundCommitted,
    RoundOpened,
    SiteOpened,
    SiteScored,
    SiteValidated,
    StudyFinished,
    StudyStarted,
    TrainingEnded,
    UpdateAdmitted,
    UpdateReady,
    UpdateSpooled,
)
from server.study_folder import StudyFolder, StudyState
from shared.ledger import timestamp
from shared.metrics import Score
from shared.study import Study, parse_study
from shared.tasks import task_for

KEY = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
BYTES = 1000  # of every update
TASKS = {
    "binary": 'classes = ["opacity"]',
    "multilabel": 'mode = "multilabel"\nclasses = ["opacity", "effusion"]',
    "multiclass": 'mode = "multiclass"\nclasses = ["none", "left", "right"]',
    "masks": 'kind = "segmentation"\nclasses = ["opacity"]',
    "organs": 'kind = "segmentation"\nmode = "multiclass"\nclasses = ["liver", "spleen"]',
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def study_of(kind: str = "train", mode: str = "binary", *, rounds: int = 3, description: str = "") -> Study:
    start = f'start_sha256 = "{sha256("model 0")}"' if kind == "evaluate" else ""
    training = "[training]\nepochs_per_round = 1" if kind == "train" else ""
    return parse_study(f"""
        [study]
        name = "chest"
        kind = "{kind}"
        description = '''{description}'''
        [task]
        {TASKS[mode]}
        [model]
        name = "{"unet" if "segmentation" in TASKS[mode] else "basic_cnn"}"
        {start}
        {training}
        [rounds]
        count = {rounds}
    """)


class StudyOnDisk:
    """A study whose model after round n is a file that says ``model n``; a second passes per entry."""

    def __init__(self, path: Path, study: Study, sites: tuple[str, ...]) -> None:
        self.folder, self.study, self.sites, self.key = StudyFolder(path), study, sites, KEY.public_key()
        (path / "models").mkdir(parents=True)
        (path / "models" / "start.safetensors").write_text("model 0")
        (path / "study.json").write_bytes(study.canonical())
        self.end(StudyState.RUNNING)
        seconds = itertools.count(1_700_000_000)
        self.journal = Journal.open(path / "journal.jsonl", key=KEY, clock=lambda: timestamp(next(seconds)))

    def say(self, *records: Record) -> Self:
        for record in records:
            self.journal.write(record)
        return self

    def begin(self, *, device: str = "cpu", opened: tuple[str, ...] | None = None, **more: Any) -> Self:
        digest = self.study.digest()
        self.say(StudyStarted(study="chest", study_digest=digest, start_digest=sha256("model 0"), cohort=self.sites))
        self.say(EpochClaimed(epoch=1, pid=10))
        for n, site in enumerate(self.sites if opened is None else opened, start=1):
            counts = {"train": 100 * n, "validation": 40, "test": 60}
            self.say(
                SiteOpened(
                    **{"site": site, "contract_digest": sha256(site), "patients": counts, "examples": counts},
                    **{"device": device, "threads": 2, "software": {"torch": "2.9", "python": "3.11"}} | more,
                )
            )
        return self

    def opening(self, number: int, *, epoch: int = 1, asked: tuple[str, ...] | None = None) -> RoundOpened:
        cohort = self.sites if asked is None else asked
        return RoundOpened(round=number, epoch=epoch, model_digest=sha256(f"model {number - 1}"), cohort=cohort)

    def ready(self, number: int, site: str, *, train_s: float = 2.0, **more: Any) -> UpdateReady:
        said = {
            **{"round": number, "site": site, "update_digest": sha256(f"{site} {number}"), "update_bytes": BYTES},
            **{"examples": 100, "patients": 100, "steps": 4, "replayed": False},
            "scores": (self.score(number - 1, site),),
            "seconds": {"score": 0.5, "train": train_s},
        }
        return UpdateReady(**said | more)

    def spooled(self, number: int, site: str) -> UpdateSpooled:
        digest = sha256(f"{site} {number}")
        return UpdateSpooled(round=number, site=site, update_digest=digest, update_bytes=BYTES)

    def commit(self, number: int, *counted: str, **more: Any) -> Self:
        """The counted sites' updates are admitted, and the round's model is on the disk."""
        for site in counted:
            digest = sha256(f"{site} {number}")
            self.say(UpdateAdmitted(round=number, site=site, update_digest=digest, examples=100, norm=1.0))
        (self.folder.path / "models" / f"round-{number:05d}.safetensors").write_text(f"model {number}")
        model, previous = sha256(f"model {number}"), sha256(f"model {number - 1}")
        said = {"round": number, "epoch": 1, "model_digest": model, "previous_digest": previous, "counted": counted}
        return self.say(RoundCommitted(**said | more))

    def whole_round(self, number: int) -> Self:
        self.say(self.opening(number))
        for site in self.sites:
            self.say(self.ready(number, site), self.spooled(number, site))
        return self.commit(number, *self.sites)

    def score(self, model: int, site: str, split: str = "validation", *, skill: float | None = None) -> Score:
        """Scores whose skill grows with the model's number; each site's patients are always the same."""
        rng = np.random.default_rng(self.sites.index(site) + (100 if split == "test" else 0))
        patients, task = 40 if split == "validation" else 60, task_for(self.study.task)
        if task.merit == "dice":
            return self._masks_score(rng, patients, sha256(f"model {model}"), split, 0.1 * model)
        truth = rng.random((patients, task.outputs)) < 0.5
        if self.study.task.mode == "multiclass":
            truth = np.eye(task.outputs, dtype=bool)[rng.integers(task.outputs, size=patients)]
        skill = 0.4 * model if skill is None else skill
        logits = rng.normal(size=truth.shape) + skill * (2 * truth - 1)
        targets = truth.argmax(axis=1) if self.study.task.mode == "multiclass" else truth.astype(np.int64)
        return task.score(logits, targets, model_digest=sha256(f"model {model}"), split=split)  # type: ignore[arg-type]

    def _masks_score(self, rng: Any, patients: int, digest: str, split: Any, skill: float) -> Score:
        """Dice that grows with the skill; two patients have nothing to measure."""
        task = task_for(self.study.task)
        rows = rng.uniform(0.4, 0.6, (patients, task.columns)).astype(np.float32) + skill
        rows[:2, :-1] = np.nan
        return task.score(rows, np.zeros((patients, 1), np.int64), model_digest=digest, split=split)

    def closing_trip(self, model: int, *sites: str) -> Self:
        for site in sites or self.sites:
            both = tuple(self.score(model, site, split) for split in ("validation", "test"))
            self.say(SiteScored(site=site, model_digest=sha256(f"model {model}"), scores=both))
        return self

    def choose(self, model: int, last: int, *, cause: str = "rounds", best: int | None = None) -> Self:
        """All sites score the last model, and this one is taken."""
        self.say(TrainingEnded.model_validate({"round": last, "cause": cause, "best": best}))
        for site in self.sites:
            scores = (self.score(last, site),)
            self.say(SiteValidated(site=site, model=last, model_digest=sha256(f"model {last}"), scores=scores))
        said: dict[str, Any] = {"cause": "best", "metric": "auroc", "value": 0.875, "cohort": self.sites}
        digest = sha256(f"model {model}")
        return self.say(ModelChosen(round=model, model_digest=digest, candidates=tuple(range(last + 1)), **said))

    def compare_own(self, last: int, *owners: str) -> Self:
        """Every site scores the own models of these sites; each is best at home."""
        for of in owners:
            digest = sha256(f"own {of}")
            self.say(OwnModelMade(of=of, update_digest=sha256(f"{of} {last}"), model_digest=digest))
            for site in self.sites:
                score = self.score(last, site, skill=1.0 if site == of else 0.3)
                scores = (score.model_copy(update={"model_digest": digest}),)
                self.say(OwnModelScored(of=of, site=site, model_digest=digest, scores=scores))
            self.say(OwnModelCompared(of=of))
        return self

    def finish(self, model: int) -> Self:
        self.say(StudyFinished(model_digest=sha256(f"model {model}")))
        self.say(*(SiteClosed(site=site, head=sha256(f"ledger of {site}")) for site in self.sites))
        return self.end(StudyState.FINISHED)

    def end(self, state: StudyState, *, reason: str | None = None, remedy: str | None = None) -> Self:
        self.folder.move(state, now="2026-01-02T03:04:05Z", reason=reason, remedy=remedy)
        return self


class Wards:
    """Makes studies on the disk, and closes their journals in the end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.made: list[StudyOnDisk] = []

    def new(self, study: Study | None = None, *, sites: tuple[str, ...] = ("north", "south", "west")) -> StudyOnDisk:
        ward = StudyOnDisk(self._path / f"chest-{len(self.made)}", study or study_of(), sites)
        self.made.append(ward)
        return ward

    @staticmethod
    def study(kind: str = "train", **more: Any) -> Study:
        return study_of(kind, **more)

    @staticmethod
    def array(values: list[Any]) -> np.ndarray:
        return np.array(values)

    @staticmethod
    def scored(site: str, digest: str, scores: tuple[Score, ...]) -> Record:
        return SiteScored(site=site, model_digest=digest, scores=scores)

    def finished(self, mode: str = "binary", *, rounds: int = 3, description: str = "") -> StudyOnDisk:
        """A study in which all went well."""
        ward = self.new(study_of(mode=mode, rounds=rounds, description=description)).begin()
        for number in range(1, rounds + 1):
            ward.whole_round(number)
        return ward.closing_trip(rounds).finish(rounds)

    def chosen(self, model: int = 2, *, rounds: int = 4, planned: int = 9) -> StudyOnDisk:
        """A study that stopped early and took an earlier model than its last."""
        ward = self.new(study_of(rounds=planned)).begin()
        for number in range(1, rounds + 1):
            ward.whole_round(number)
        return ward.choose(model, rounds, cause="patience", best=model).closing_trip(model).finish(model)


@pytest.fixture
def wards(tmp_path: Path) -> Iterator[Wards]:
    wards = Wards(tmp_path)
    yield wards
    for ward in wards.made:
        ward.journal.close()
