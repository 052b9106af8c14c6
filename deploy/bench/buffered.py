"""`wardround bench buffered`: one site has ten times the images; rounds that wait for it beside rounds that do not.

Two studies in one real federation, which differ in `rounds.buffer` alone. The first waits for everybody and runs
its rounds to the end; the second is stopped after the same time. What each made of that time is scored here, on
the test patients of all sites together. The slow site is slow because it works: an epoch over its images
takes that much longer. Speed is reported, not promised; that its updates count once each is promised.
"""

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from client.imaging.cache import prepare
from client.imaging.settings import DataSettings
from deploy.bench.accounts import Books, read_books
from deploy.bench.bed import await_end, begin, finish, listening, queue, remains, workplace
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.bench.trial import Trial
from deploy.demo.cast import npz_cast
from deploy.local import LocalFederation
from server.clone import toml_of
from server.journal import read_records
from server.records import RoundCommitted, RoundOpened, UpdateReady
from server.study_folder import Request, StudyFolder
from shared.classification import Classification
from shared.console import progress_console, table
from shared.ledger import read_entries
from shared.metrics import auroc_exact
from shared.study import Study, parse_study

FAST, SLOW = ("east", "north"), "south"
IMAGES = 160  # of a fast site, where none are given
MOST_ROUNDS = 100_000
PATIENCE_S = 600.0
STUDY = """\
[study]
name = "spots"
seed = {seed}
[task]
classes = ["spot"]
[images]
size_px = {size_px}
[training]
batch_size = 16
epochs_per_round = 1
[rounds]
deadline_s = 600
"""


def run(
    *, npz: Path | None = None, rounds: int = 6, slower: int = 10, seed: int = 0, keep: Path | None = None
) -> dict[str, Any]:
    """Run both studies.

    Args:
        npz: an array file to divide over the sites; without one, pictures are drawn.
        rounds: of the study that waits for everybody.
        slower: how many times as many images the slow site has.
        seed: of the division or the pictures, and of the studies.
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ConfigError: the file cannot be divided.
        StudyError: the first study did not finish.
        ResourceError: a study took too long.
    """
    with workplace(keep) as root:
        data, study = _cast(root / "images", npz, slower=slower, seed=seed)
        federation = LocalFederation(root / "bench", data, device="cpu", seed=seed)
        with federation:
            begin(federation)
            waiting = _launched(federation, study, "waiting", count=rounds, quorum=len(data))
            finish(federation, waiting, patience_s=PATIENCE_S)
            buffered = _launched(federation, study, "buffered", count=MOST_ROUNDS, buffer=len(FAST))
            _stop_after(federation, buffered, _span_s(waiting))
            ledgers = {site: path / "ledger.jsonl" for site, path in federation.sites.items()}
            books = read_books(buffered, ledgers)
            ports = listening(federation)
        left = remains(federation, ports)
        cases = [_case(folder, study, data, root) for folder in (waiting, buffered)]
        slow_work = slow_work_of(buffered, books)
    return {
        "file": npz.name if npz else None,
        "sites": len(data),
        "slower": slower,
        "cases": cases,
        "rounds_per_minute_ratio": round(cases[1]["rounds_per_minute"] / cases[0]["rounds_per_minute"], 2),
        **slow_work,
        "double_counted": books.double_counted,
        "unaccounted": books.unaccounted,
        "orphans": left.count,
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    if data["double_counted"] or data["unaccounted"]:
        yield "The journal and the ledgers do not agree that each update counted once."
    if data["slow_finished"] <= 1 and not data["slow_counted"]:
        yield "The run was too short to say what becomes of the slow site's work. Give more --rounds."
    elif not data["slow_counted"]:
        yield "No update of the slow site counted."
    if data["slow_finished"] - data["slow_counted"] > 1:  # one may be on its way when the study is stopped
        yield f"Of {data['slow_finished']} updates of the slow site only {data['slow_counted']} counted."
    if data["orphans"]:
        yield f"{data['orphans']} processes or ports stayed behind."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per study, then what became of the slow site's work."""
    rows = (
        (case["study"], case["rounds"], f"{case['seconds']:.1f}", case["rounds_per_minute"], case["auroc"])
        for case in data["cases"]
    )
    ages = ", ".join(map(str, data["slow_rounds_late"])) or "none"
    words = (
        f"\n{data['rounds_per_minute_ratio']} times as many rounds per minute. The slow site finished"
        f" {data['slow_finished']} updates, of which {data['slow_counted']} counted; rounds late: {ages}."
    )
    return Group(table(("study", "rounds", "s", "rounds per minute", "AUROC"), rows), Text(words))


def _cast(folder: Path, npz: Path | None, *, slower: int, seed: int) -> tuple[dict[str, DataSettings], Study]:
    if npz is None:
        images = dict.fromkeys(FAST, IMAGES) | {SLOW: IMAGES * slower}
        return draw_sites(folder, images, seed=seed), parse_study(STUDY.format(seed=seed, size_px=SIDE_PX))
    cast = npz_cast(folder, npz, scheme="iid", sites=len(FAST) + slower, rounds=1, seed=seed)
    parts = list(cast.data.values())
    joined = _joined(parts[len(FAST) :], folder / f"{SLOW}.npz")
    return dict(zip(FAST, parts, strict=False)) | {SLOW: joined}, cast.study


def _joined(parts: list[DataSettings], file: Path) -> DataSettings:
    """Several sites' array files as one."""
    loaded = [np.load(part.file, allow_pickle=False) for part in parts if part.file]
    np.savez(file, allow_pickle=False, **{key: np.concatenate([one[key] for one in loaded]) for key in loaded[0]})
    return DataSettings(kind="npz", file=file)


def _launched(federation: LocalFederation, study: Study, name: str, **rounds: int) -> StudyFolder:
    progress_console().print(f"Study {name} ...")
    asked = study.model_dump() | {"rounds": {"deadline_s": study.rounds.deadline_s} | rounds}
    return queue(federation, toml_of(Study.model_validate(asked), name))


def _stop_after(federation: LocalFederation, folder: StudyFolder, span_s: float) -> None:
    """Stop a study when so many seconds have passed since its first round opened."""
    federation.wait_for(lambda: _opened(folder), patience_s=PATIENCE_S, what=f"round 1 of {folder.name}")
    time.sleep(span_s)
    folder.ask(Request.STOP)
    await_end(federation, folder)


def _opened(folder: StudyFolder) -> bool:
    return folder.journal.exists() and any(e.type == RoundOpened.entry_type() for e in read_entries(folder.journal))


def _case(folder: StudyFolder, study: Study, data: Mapping[str, DataSettings], root: Path) -> dict[str, Any]:
    commits = [record.round for _, record in read_records(folder.journal) if isinstance(record, RoundCommitted)]
    seconds, last = _span_s(folder), max(commits, default=0)
    return {
        "study": folder.name,
        "rounds": last,
        "seconds": round(seconds, 2),
        "rounds_per_minute": round(60 * last / seconds, 2),
        "auroc": round(_auroc(folder.path / "models" / f"round-{last:05d}.safetensors", study, data, root), 4),
    }


def _span_s(folder: StudyFolder) -> float:
    """From the first opening of a round to the last commit."""
    read = [(datetime.fromisoformat(entry.time), record) for entry, record in read_records(folder.journal)]
    opened = next(at for at, record in read if isinstance(record, RoundOpened))
    return max((at - opened).total_seconds() for at, record in read if isinstance(record, RoundCommitted))


def _auroc(model: Path, study: Study, data: Mapping[str, DataSettings], root: Path) -> float:
    """Of a model on the test patients of all sites; of several classes the macro mean."""
    cache, salt = root / "cache", bytes(16)  # patients of a benchmark are nobody's secret
    sites = {
        site: prepare(settings, task=study.task, images=study.images, salt=salt, base=root, cache=cache / site)
        for site, settings in data.items()
    }
    (place := root / f"scored-{model.parents[1].name}").mkdir()
    trial = Trial(study, sites, place)
    trial.model = model
    logits, targets, _ = trial.test_logits()
    margins, truth = Classification(study.task).one_vs_rest(logits, targets)
    figures = [auroc_exact(margins[:, i], truth[:, i]) for i in range(margins.shape[1])]
    return float(np.mean([figure for figure in figures if figure is not None]))


def slow_work_of(folder: StudyFolder, books: Books) -> dict[str, Any]:
    """How many updates the slow site finished and announced, how many of them counted, and how late each did."""
    counted = {update.place: update.digest for update in books.counted if update.place[1] == SLOW}
    finished = {digest for (_, site), digests in books.released.items() if site == SLOW for digest in digests}
    said = (record for _, record in read_records(folder.journal) if isinstance(record, UpdateReady))
    late = {(record.round, record.site): record.round - (record.late_from or record.round) for record in said}
    return {
        "slow_finished": len(finished),
        "slow_counted": len(counted),
        "slow_rounds_late": [late[place] for place in sorted(counted)],
    }
