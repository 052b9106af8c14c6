"""Our side of `wardround bench rounds`: a federation of real processes, timed by its own journal."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client.imaging.settings import DataSettings
from deploy.bench.bed import begin, finish, queue
from deploy.bench.noop import study_text, width_for, write_images
from deploy.local import LocalFederation
from server.journal import read_records
from server.launch import START_MODEL
from server.record import Record
from server.records import RoundCommitted, RoundOpened, UpdateReady
from server.study_folder import StudyFolder
from shared.update import FloatDtype

METHOD = (
    "The journal's time stamps, from the entry round_opened to the next round_opened: fold, checkpoint and every "
    "wait for the disk between them count. The first round of a block and its last, which no other follows, are "
    "left out."
)


class OwnRounds:
    """A local federation with one study per block of rounds.

    Args:
        root: an empty folder for all of it.
        sites: how many.
        model_bytes: the packed model's size to aim at.

    Attributes:
        width: of the model's hidden layer.
        model_bytes: the packed model's size, once a first study is queued.
    """

    def __init__(self, root: Path, *, sites: int, model_bytes: int) -> None:
        self._sites = sites
        self.width = width_for(model_bytes)
        self.model_bytes = 0
        data = {}
        for number in range(1, sites + 1):
            file = root / f"images-{number}.npz"
            write_images(file, seed=number)
            data[f"site-{number}"] = DataSettings(kind="npz", file=file)
        self.federation = LocalFederation(root, data, threads=1, device="cpu")

    def __enter__(self) -> Self:
        try:
            begin(self.federation)
        except BaseException:
            self.federation.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.federation.stop_all()

    def block(self, name: str, *, repetitions: int, dtype: FloatDtype = "float32") -> dict[str, Any]:
        """Run one study; seconds of its middle rounds, as `timed` tells them.

        Raises:
            StudyError: the study did not finish.
            ResourceError: a process of the federation ended.
        """
        folder = self.launch(name, rounds=repetitions + 2, dtype=dtype)
        finish(self.federation, folder)
        return timed((entry.time, record) for entry, record in read_records(folder.path / "journal.jsonl"))

    def launch(self, name: str, *, rounds: int, dtype: FloatDtype = "float32") -> StudyFolder:
        """Queue a study whose numbers travel in this dtype."""
        text = study_text(name, width=self.width, rounds=rounds, sites=self._sites, dtype=dtype)
        folder = queue(self.federation, text)
        self.model_bytes = self.model_bytes or (folder.path / START_MODEL).stat().st_size
        return folder


def timed(records: Iterable[tuple[str, Record]]) -> dict[str, Any]:
    """What a journal says about its middle rounds, in seconds.

    Args:
        records: RFC 3339 time and record of each entry.

    Returns:
        `seconds` from opening to opening, `to_commit_s` from opening to commit, and `work_s`, the
        longest that a site scored and trained, of each round.
    """
    opened: dict[int, float] = {}
    committed: dict[int, float] = {}
    work: dict[int, float] = {}
    for stamp, record in records:
        match record:
            case RoundOpened():
                opened.setdefault(record.round, _unix(stamp))
            case RoundCommitted():
                committed[record.round] = _unix(stamp)
            case UpdateReady():
                work[record.round] = max(work.get(record.round, 0.0), sum(record.seconds.values()))
    middle = sorted(opened)[1:-1]
    return {
        "seconds": [round(opened[number + 1] - opened[number], 3) for number in middle],
        "to_commit_s": [round(committed[number] - opened[number], 3) for number in middle],
        "work_s": [round(work[number], 3) for number in middle],
    }


def _unix(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
