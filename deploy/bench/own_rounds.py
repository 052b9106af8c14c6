"""Our side of `wardround bench rounds`: a federation of real processes, timed by its own journal."""

from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client.imaging.settings import DataSettings
from deploy.bench.noop import study_text, width_for, write_images
from deploy.local import LocalFederation
from server.desk import utc_now
from server.journal import read_records
from server.launch import START_MODEL, launch
from server.records import Record, RoundCommitted, RoundOpened, UpdateReady
from server.study_folder import StudyFolder, StudyState
from shared.errors import StudyError
from shared.study import parse_study

METHOD = (
    "The journal's time stamps, from the entry round_opened to the next round_opened: fold, checkpoint and every "
    "fsync between them count. The first round of a block and its last, which no other follows, are left out."
)
_OVER = (StudyState.FINISHED, StudyState.FAILED, StudyState.STOPPED)
_PATIENCE_S = 900.0


class OwnRounds:
    """A local federation with one study per block of rounds.

    Args:
        root: an empty folder for all of it.
        sites: how many.
        model_bytes: the packed model's size to aim at.
        steps: optimizer steps of a site's round.
    """

    def __init__(self, root: Path, *, sites: int, model_bytes: int, steps: int = 1) -> None:
        self._root, self._sites, self._steps = root, sites, steps
        self._width = width_for(model_bytes)
        self.model_bytes = 0
        data = {}
        for number in range(1, sites + 1):
            file = root / f"images-{number}.npz"
            write_images(file, seed=number)
            data[f"site-{number}"] = DataSettings(kind="npz", file=file)
        self.federation = LocalFederation(root, data, threads=1, device="cpu")

    def __enter__(self) -> Self:
        try:
            self.federation.serve()
            for site in self.federation.sites:
                self.federation.start_site(site)
        except BaseException:
            self.federation.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.federation.stop_all()

    def block(self, name: str, *, repetitions: int) -> dict[str, Any]:
        """Run one study; seconds of its middle rounds, and what the sites spent on work in them.

        Raises:
            StudyError: the study did not finish.
            ResourceError: a process of the federation ended.
        """
        folder = self.launch(name, rounds=repetitions + 2)
        self.await_end(folder)
        records = list(read_records(folder.path / "journal.jsonl"))
        return timed((entry.time, record) for entry, record in records)

    def launch(self, name: str, *, rounds: int) -> StudyFolder:
        """Queue a study."""
        text = study_text(name, width=self._width, rounds=rounds, sites=self._sites, steps=self._steps)
        folder = launch(self.federation.federation, parse_study(text), source=text, start_model=None, now=utc_now())
        self.model_bytes = (folder.path / START_MODEL).stat().st_size
        return folder

    def await_end(self, folder: StudyFolder, *, each_turn: Callable[[], None] = lambda: None) -> None:
        """Wait until a study is finished; raises as `block`."""

        def over() -> bool:
            each_turn()
            return folder.standing().state in _OVER

        self.federation.wait_for(over, patience_s=_PATIENCE_S, what=f"the end of study {folder.name}")
        standing = folder.standing()
        if standing.state is not StudyState.FINISHED:
            raise StudyError(standing.reason or "The study ended early.", remedy=standing.remedy or "Read the logs.")


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
