"""How far a study is: rounds' durations, bytes and the last scored model, from the journal as it grows."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.journal import Journal
from server.log import JournalReader
from server.progress import Progress
from server.records import RoundCommitted, RoundOpened, StudyStarted, UpdateAdmitted, UpdateReady, UpdateSpooled
from shared.ledger import timestamp
from shared.study import TaskSpec
from shared.tasks import task_for

KEY = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
TASK = task_for(TaskSpec(classes=("opacity",)))
MODELS = [str(n) * 64 for n in range(4)]


class Growing:
    """A journal of one site in which each entry takes a second, and the progress of who reads along."""

    def __init__(self, folder: Path) -> None:
        seconds = itertools.count(1_700_000_000)
        self.journal = Journal.open(folder / "journal.jsonl", key=KEY, clock=lambda: timestamp(next(seconds)))
        self.reader = JournalReader(folder / "journal.jsonl", public_key=KEY.public_key())
        self.progress = Progress()
        self.say(StudyStarted(study="s", study_digest=MODELS[0], start_digest=MODELS[0], cohort=("north",)))

    def say(self, *records: Any) -> None:
        for record in records:
            self.journal.write(record)
        self.progress.add(self.reader.entries())

    def opens(self, number: int) -> None:
        self.say(RoundOpened(round=number, epoch=1, model_digest=MODELS[number - 1], cohort=("north",)))

    def ready(self, number: int, *, right: int) -> None:
        """Ten patients; the scores of `right` of them are on the right side."""
        truth = np.arange(10) % 2
        logits = np.where(np.arange(10) < right, 2.0 * truth - 1, 1 - 2.0 * truth)[:, None]
        score = TASK.score(logits, truth[:, None], model_digest=MODELS[number - 1], split="validation")
        said = {"round": number, "site": "north", "update_digest": MODELS[number], "update_bytes": 500}
        work = {"examples": 10, "patients": 10, "steps": 1, "replayed": False, "scores": (score,)}
        spooled = UpdateSpooled(**said)
        self.say(UpdateReady(**said, **work), spooled)

    def commits(self, number: int) -> None:
        self.say(UpdateAdmitted(round=number, site="north", update_digest=MODELS[number], examples=10, norm=1.0))
        said = {"round": number, "epoch": 1, "model_digest": MODELS[number], "previous_digest": MODELS[number - 1]}
        self.say(RoundCommitted(**said, counted=("north",)))


@pytest.fixture
def study(tmp_path: Path) -> Growing:
    return Growing(tmp_path)


def test_nothing_is_guessed_before_the_first_commit(study: Growing) -> None:
    study.opens(1)
    assert study.progress.left_s(3) is None
    assert study.progress.validation(TASK) is None
    assert study.progress.received_bytes == 0


def test_the_rest_is_guessed_from_the_committed_rounds(study: Growing) -> None:
    study.opens(1)
    study.ready(1, right=10)
    study.commits(1)
    assert study.progress.round_seconds == [4.0]  # ready, spooled, admitted, committed
    study.opens(2)
    study.ready(2, right=10)
    study.opens(2)  # its process died; the second opening counts, and the update that was received only once
    study.ready(2, right=10)
    study.commits(2)
    assert study.progress.round_seconds == [4.0, 4.0]
    assert study.progress.left_s(3) == 12.0
    assert study.progress.received_bytes == 1000


def test_the_last_scored_model_is_the_one_that_entered_the_round(study: Growing) -> None:
    study.opens(1)
    study.ready(1, right=5)
    study.commits(1)
    first = study.progress.validation(TASK)
    study.opens(2)
    study.ready(2, right=10)
    second = study.progress.validation(TASK)
    assert first is not None
    assert second is not None
    assert (first.model, second.model, second.sites) == (0, 1, 1)
    assert first.merit < second.merit == 1.0
