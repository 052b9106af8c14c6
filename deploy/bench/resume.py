"""`wardround bench resume`: whatever process dies in the middle of a round, the model is the same.

One undisturbed study, then the same study again for each process to kill, in one real federation of
four sites. The model of a study is a function of the study, the data and who counted; so the digests
must be equal bit for bit, nothing may count twice, and no process may stay behind.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from deploy.bench.accounts import Books, read_books
from deploy.bench.bed import begin, finish, listening, queue, remains, seconds, strays, workplace
from deploy.bench.killing import WHOM, Killing, kill
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.local import LocalFederation
from server.launch import FINAL_MODEL
from server.study_folder import StudyFolder
from shared.canonical import digest
from shared.console import progress_console, table
from shared.errors import ConfigError

ROUNDS = 3
KILL_IN = 2
TRAIN = {"north": 128, "east": 160, "south": 192, "west": 960}  # the last one is still at work when others are done
SLOWEST = "west"
STUDY = """\
[study]
name = "{name}"
seed = {seed}

[task]
classes = ["spot"]

[images]
size_px = {size_px}

[training]
batch_size = 16
epochs_per_round = 2

[rounds]
count = {rounds}
quorum = {quorum}
deadline_s = 240
"""


def run(
    *, victims: tuple[str, ...] = WHOM, device: str = "cpu", seed: int = 0, keep: Path | None = None
) -> dict[str, Any]:
    """Run the undisturbed study and one study per process to kill.

    Args:
        victims: whom to kill, of `WHOM`, each once.
        device: where the sites' workers compute.
        seed: of the pictures and the studies.
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ConfigError: `victims` names somebody else, or somebody twice.
        StudyError: a study did not finish.
        ResourceError: a moment to kill did not come.
    """
    if not set(victims) <= set(WHOM) or len(set(victims)) != len(victims):
        raise ConfigError(
            f"--kill takes each process once; found {','.join(victims)}.", remedy=f"Choose from {','.join(WHOM)}."
        )
    with workplace(keep) as root:
        data = draw_sites(root / "images", TRAIN, seed=seed)
        federation = LocalFederation(root / "bench", data, device=device)
        with federation:
            begin(federation)
            runs = (_follow(federation, queue(federation, _study_text(whom, seed)), whom) for whom in (None, *victims))
            undisturbed, *cases = runs  # one after the other: studies that are queued together run side by side
            ports = listening(federation)
        left = remains(federation, ports)
    return {
        "sites": len(TRAIN),
        "rounds": ROUNDS,
        "undisturbed_sha256": undisturbed["weights_sha256"],
        "undisturbed": undisturbed,
        "cases": cases,
        "double_counted": sum(case["double_counted"] for case in cases),
        "resent_from_spool": sum(case["resent_from_spool"] for case in cases),
        "orphans": sum(case["orphans"] for case in cases) + left.count,
        "left_at_the_end": {"processes": left.processes, "ports": left.ports},
        "all_counted": all(case["all_counted"] for case in cases),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for case in (data["undisturbed"], *data["cases"]):
        for broken in _missed_by(case, data["undisturbed_sha256"]):
            yield f"{case['study']}: {broken}."
    if data["orphans"]:
        yield f"{data['orphans']} processes or ports stayed behind."
    if {"serverapp", "superlink"} & {case["killed"] for case in data["cases"]} and not data["resent_from_spool"]:
        yield "No update was sent again from a site's spool."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per study."""
    columns = ("killed", "at", "s", "model", "resent", "double", "orphans", "all counted")
    rows = (
        (
            case["killed"] or "nobody",
            f"round {case['at']['round']}" if case["at"] else "",
            f"{case['seconds']:.1f}",
            "same" if case["weights_sha256"] == data["undisturbed_sha256"] else "DIFFERS",
            case["resent_from_spool"],
            case["double_counted"],
            case["orphans"],
            "yes" if case["all_counted"] else "NO",
        )
        for case in (data["undisturbed"], *data["cases"])
    )
    return Group(table(columns, rows), Text(f"\nundisturbed model {data['undisturbed_sha256']}"))


def _missed_by(case: dict[str, Any], undisturbed: str) -> Iterator[str]:
    if case["weights_sha256"] != undisturbed:
        yield "the model differs from the undisturbed one"
    if case["double_counted"] or case["unaccounted"]:
        yield "the journal and the ledgers do not agree that each update counted once"
    if not case["all_counted"]:
        yield "a site's work was lost in a round"
    if case["uploaded_again"]:
        yield "an update that the server held was uploaded again"
    if case["at"] and not case["at"]["mid_round"]:
        yield "the round was over before the process was dead"


def _study_text(whom: str | None, seed: int) -> str:
    name = f"kill-{whom}" if whom else "undisturbed"
    return STUDY.format(name=name, seed=seed, size_px=SIDE_PX, rounds=ROUNDS, quorum=len(TRAIN))


def _follow(federation: LocalFederation, folder: StudyFolder, whom: str | None) -> dict[str, Any]:
    progress_console().print(f"Study {folder.name} ...")
    killing = kill(whom, federation, folder, slowest=SLOWEST, number=KILL_IN) if whom else None
    finish(federation, folder)
    ledgers = {site: path / "ledger.jsonl" for site, path in federation.sites.items()}
    case = _case(folder, read_books(folder, ledgers), killing)
    return case | {"seconds": seconds(folder), "orphans": strays(federation)}


def _case(folder: StudyFolder, books: Books, killing: Killing | None) -> dict[str, Any]:
    stage = {"stage": "train", "round": killing.round, "mid_round": killing.mid_round} if killing else None
    kept = sorted(killing.kept) if killing else []
    return {
        "study": folder.name,
        "killed": killing.killed if killing else None,
        "at": stage,
        "weights_sha256": digest((folder.path / FINAL_MODEL).read_bytes()),
        "resent_from_spool": books.replayed,
        "kept_by_server": kept,
        "uploaded_again": sum(len(books.released.get((KILL_IN, site), ())) > 1 for site in kept),
        "double_counted": books.double_counted,
        "unaccounted": books.unaccounted,
        "all_counted": books.complete(TRAIN, rounds=ROUNDS),
    }
