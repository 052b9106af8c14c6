"""`wardround bench soak`: a long study of a tiny model; whether anything grows with the rounds.

A real local federation. Memory, open files and threads of every process are sampled while the study runs,
and the disk under the two houses; what remains is the slope of each, per 100 rounds. Some disk grows on
purpose: the journal, the ledgers, and each site's record of every round that it answered. It is told
apart from the rest, which must not.
"""

import contextlib
import json
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from rich.console import Group
from rich.text import Text

from client.imaging.settings import DataSettings
from deploy.bench import gauge
from deploy.bench.bed import ENDED, begin, finish, queue, seconds, workplace
from deploy.bench.family import server_parts, site_parts
from deploy.bench.noop import study_text, write_images
from deploy.bench.slopes import KINDS, Sample, growth, settled, slope_per_100
from deploy.local import LocalFederation
from server.study_folder import StudyFolder
from shared.console import progress_console, table

BOUNDS = {"memory": 1_000_000, "descriptors": 0.5, "threads": 0.5, "disk": 1_000_000}  # per 100 rounds
ONCE = {"memory": 5_000_000, "descriptors": 2.0, "threads": 4.0, "disk": 2_000_000}  # pools that fill, allocators
WARM_UP = 0.2  # of the rounds
WIDTH = 8
_KEPT = ("journal.jsonl", "ledger.jsonl", "ready.json", "drawn.json", ".log", "log")
_INTERVAL_S = 1.0
_DISK_EVERY = 5  # samples
_ROUND_PATIENCE_S = 30.0
_METHOD = (
    f"Least squares over samples of every {_INTERVAL_S:.0f} s, the first {100 * WARM_UP:.0f} % of the rounds left out. "
    "Memory is RssAnon of /proc/PID/status; disk is the bytes under federation/ and sites/, without the journal, the "
    "ledgers, the logs and the records of answered rounds, which grow on purpose and are told apart. Flat is what "
    "stays under its bound, which in a short study allows for what is taken once."
)


class Sampler:
    """Samples in a thread while its ``with`` block runs.

    Args:
        parts: process ids by part; asked again at every sample.
        committed: how many rounds are committed.
        disk: bytes on disk, `kept` on purpose and `rest`.

    Attributes:
        samples: by part, in order.
        disk_samples: committed rounds and what `disk` said.
    """

    def __init__(
        self, parts: Callable[[], Mapping[str, int]], committed: Callable[[], int], disk: Callable[[], dict[str, int]]
    ) -> None:
        self.samples: dict[str, list[Sample]] = defaultdict(list)
        self.disk_samples: list[tuple[int, dict[str, int]]] = []
        self._parts, self._committed, self._disk = parts, committed, disk
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample_all, name="sampler")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()

    def _sample_all(self) -> None:
        turn = 0
        while not self._stopping.wait(_INTERVAL_S):
            committed = self._committed()
            for part, pid in self._parts().items():
                if (sample := _sample(pid, committed)) is not None:
                    self.samples[part].append(sample)
            if turn % _DISK_EVERY == 0:
                self.disk_samples.append((committed, self._disk()))
            turn += 1


def run(*, rounds: int, sites: int = 4, seed: int = 0, keep: Path | None = None) -> dict[str, Any]:
    """Run one long study.

    Args:
        rounds: how many.
        sites: how many.
        seed: of the pictures.
        keep: a new folder for everything, the samples included; None keeps nothing.

    Raises:
        StudyError: the study did not finish.
        ResourceError: a process of the federation ended, or the study came to a standstill.
    """
    with workplace(keep) as root, LocalFederation(root / "soak", _images(root, sites, seed), device="cpu") as local:
        begin(local)
        text = study_text("soak", width=WIDTH, rounds=rounds, sites=sites, deadline_s=600)
        folder = queue(local, text)
        sampler = Sampler(
            lambda: server_parts(local) | site_parts(local), lambda: _committed(folder), lambda: disk_of(local.root)
        )
        with sampler:
            _await(local, folder, rounds)
        finish(local, folder)
        (root / "samples.json").write_text(
            json.dumps(sampler.samples | {"disk": sampler.disk_samples}), encoding="utf-8"
        )
        return account(sampler, rounds=rounds) | {"sites": sites, "study_s": seconds(folder)}


def account(sampler: Sampler, *, rounds: int) -> dict[str, Any]:
    """What the samples of a study of so many rounds add up to."""
    warm_up = int(WARM_UP * rounds)
    processes = {}
    for part, samples in sorted(sampler.samples.items()):
        replaced = len({sample.pid for sample in samples}) - 1
        processes[part] = growth(settled(samples, warm_up=warm_up)) | {"replaced": replaced}
    late = [(number, disk) for number, disk in sampler.disk_samples if number > warm_up]
    disk = {
        f"{name}_per_100_rounds": slope_per_100([number for number, _ in late], [found[name] for _, found in late])
        for name in ("kept", "rest")
    }
    return {
        "rounds": rounds,
        "method": _METHOD,
        "bounds_per_100_rounds": bounds(rounds - warm_up),
        "processes": processes,
        "disk": {name: None if slope is None else round(slope) for name, slope in disk.items()},
    }


def bounds(measured: int) -> dict[str, float]:
    """What may grow per 100 rounds; in a short study, as much as may be taken once and for all."""
    return {kind: round(max(BOUNDS[kind], 100 * ONCE[kind] / measured), 3) for kind in BOUNDS}


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What grew more than its bound, one sentence each."""
    limits = data["bounds_per_100_rounds"]
    for part, found in data["processes"].items():
        for kind in KINDS:
            slope = found[f"{kind}_per_100_rounds"]
            if slope is not None and slope > limits[kind]:
                yield f"{part}: {kind} grows by {slope:g} per 100 rounds; the bound is {limits[kind]:g}."
    rest = data["disk"]["rest_per_100_rounds"]
    if rest is not None and rest > limits["disk"]:
        yield f"The disk grows by {rest:g} bytes per 100 rounds beside what is kept; the bound is {limits['disk']:g}."


def show(data: dict[str, Any]) -> Group:
    """A table for 80 columns."""
    rows = (
        (
            part,
            _signed(found["memory_per_100_rounds"], 1e3, "kB"),
            f"{(found['memory_at_end'] or 0) / 1e6:.0f} MB",
            _signed(found["descriptors_per_100_rounds"]),
            _signed(found["threads_per_100_rounds"]),
        )
        for part, found in data["processes"].items()
    )
    columns = ("per 100 rounds", "memory", "at the end", "open files", "threads")
    kept, rest = (_signed(data["disk"][f"{name}_per_100_rounds"], 1e3, "kB") for name in ("kept", "rest"))
    lines = f"\nDisk: {kept} kept on purpose, {rest} beside it. {data['rounds']} rounds, {data['study_s']} s.\n"
    return Group(table(columns, rows), Text(lines), Text(data["method"]))


def disk_of(root: Path) -> dict[str, int]:
    """Bytes of the files under a local federation: what is `kept` on purpose, and the `rest`."""
    found = {"kept": 0, "rest": 0}
    for house in ("federation", "sites"):
        for folder, _, names in os.walk(root / house):  # passes over what goes meanwhile
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    size = os.lstat(os.path.join(folder, name)).st_size
                    found["kept" if name.endswith(_KEPT) else "rest"] += size
    return found


def _images(root: Path, sites: int, seed: int) -> dict[str, DataSettings]:
    data = {}
    for number in range(1, sites + 1):
        file = root / f"images-{number}.npz"
        write_images(file, seed=seed + number)
        data[f"site-{number}"] = DataSettings(kind="npz", file=file)
    return data


def _sample(pid: int, committed: int) -> Sample | None:
    with contextlib.suppress(psutil.Error):
        process, memory = psutil.Process(pid), gauge.rss_anon(pid)
        if memory is not None:
            return Sample(pid, committed, memory, process.num_fds(), process.num_threads())
    return None


def _committed(folder: StudyFolder) -> int:
    return int(folder.read_status().get("committed", 0))


def _await(local: LocalFederation, folder: StudyFolder, rounds: int) -> None:
    """Wait for the end, each tenth of the rounds with a patience of its own."""
    console = progress_console()
    for number in range(1, 11):
        goal = rounds * number // 10
        what, patience_s = f"round {goal}", 60.0 + _ROUND_PATIENCE_S * rounds / 10
        local.wait_for(lambda: _over(folder) or _committed(folder) >= goal, patience_s=patience_s, what=what)  # noqa: B023
        console.print(f"{_committed(folder)} of {rounds} rounds ...")
    local.wait_for(lambda: _over(folder), patience_s=_ROUND_PATIENCE_S * 10, what=f"the end of {folder.name}")


def _over(folder: StudyFolder) -> bool:
    return folder.standing().state in ENDED


def _signed(slope: float | None, unit: float = 1.0, name: str = "") -> str:
    return "?" if slope is None else f"{slope / unit:+.1f} {name}".strip()
