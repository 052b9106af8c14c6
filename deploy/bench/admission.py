"""`wardround bench admission`: what must not count does not count, and the study goes on without it.

One real federation, three honest sites and a hostile one; one study per attack. The hostile site
works honestly in the first round, attacks in the second and works honestly again in the third. So
every study must come to the very same model: the one to which the hostile site contributed in the
rounds 1 and 3 alone.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from deploy.bench.attacks import ATTACK_IN, Attack
from deploy.bench.bed import await_end, listening, queue, remains, seconds, workplace
from deploy.bench.pictures import SIDE_PX, draw_sites
from deploy.local import LocalFederation
from server.journal import read_records
from server.launch import FINAL_MODEL
from server.record import Record
from server.records import RoundCommitted, UpdateRefused
from server.study_folder import StudyFolder, StudyState
from shared.canonical import digest
from shared.console import progress_console, table

ROUNDS = 3
HONEST = ("east", "north", "south")
HOSTILE = "west"
STUDY = """\
[study]
name = "{name}"
seed = {seed}

[task]
classes = ["spot"]

[images]
size_px = {size_px}

[model]
width = 16

[training]
batch_size = 16
steps_per_round = 4

[rounds]
count = {rounds}
quorum = {quorum}
deadline_s = 240
"""


def run(*, attacks: Sequence[Attack] = tuple(Attack), seed: int = 0, keep: Path | None = None) -> dict[str, Any]:
    """Run one study per attack.

    Args:
        attacks: which.
        seed: of the pictures and the studies.
        keep: a new folder for everything; None keeps nothing.

    Raises:
        ResourceError: a process of the federation ended, or a study did not come to an end.
    """
    with workplace(keep) as root:
        data = draw_sites(root / "images", dict.fromkeys((*HONEST, HOSTILE), 64), seed=seed)
        federation = LocalFederation(root / "bench", data, device="cpu")
        with federation:
            federation.serve()
            for site in HONEST:
                federation.start_site(site)
            hostile = [sys.executable, "-m", "deploy.bench.attacker", str(federation.sites[HOSTILE])]
            federation.start_command(HOSTILE, hostile)
            folders = {attack: queue(federation, _study_text(attack, seed)) for attack in attacks}
            cases = [_follow(federation, attack, folder) for attack, folder in folders.items()]
            ports = listening(federation)
        left = remains(federation, ports)
    return {
        "honest_sites": len(HONEST),
        "hostile_sites": 1,
        "rounds": ROUNDS,
        "cases": cases,
        "models_agree": len({case["weights_sha256"] for case in cases}) == 1,
        "orphans": left.count,
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    for case in data["cases"]:
        for promise in ("refused", "journalled", "study_completed"):
            if not case[promise]:
                yield f"{case['case']}: not {promise.replace('_', ' ')}."
        if case["wrongly_refused"]:
            yield f"{case['case']}: an honest update was refused."
    if not data["models_agree"]:
        yield "The attacks left their mark: the models differ."
    if data["orphans"]:
        yield f"{data['orphans']} processes or ports stayed behind."


def show(data: dict[str, Any]) -> RenderableType:
    """One row per attack."""
    columns = ("attack", "refused", "reason", "journalled", "study completed", "s", "model")
    return table(
        columns,
        (
            (
                case["case"],
                _yes(case["refused"]),
                case["reason"] or "",
                _yes(case["journalled"]),
                _yes(case["study_completed"]),
                f"{case['seconds']:.1f}",
                (case["weights_sha256"] or "")[:12],
            )
            for case in data["cases"]
        ),
    )


def judge(attack: Attack, records: Iterable[Record], *, finished: bool) -> dict[str, Any]:
    """What a study's journal says of the attack.

    Args:
        attack: the one that was tried.
        records: of the journal.
        finished: whether the study finished.
    """
    said = list(records)
    refusals = [record for record in said if isinstance(record, UpdateRefused)]
    commits = {record.round: record for record in said if isinstance(record, RoundCommitted)}
    caught = next((r for r in refusals if (r.round, r.site) == (ATTACK_IN, HOSTILE)), None)
    attacked = commits.get(ATTACK_IN)
    return {
        "case": attack.value,
        "refused": attacked is not None and HOSTILE in attacked.refused and HOSTILE not in attacked.counted,
        "reason": caught.reasons[0].value if caught else None,
        "detail": caught.detail if caught else None,
        "journalled": caught is not None and caught.reasons[0] is attack.reason,
        "study_completed": finished and len(commits) == ROUNDS and _all_counted(commits.values()),
        "wrongly_refused": sum(record is not caught for record in refusals),
    }


def _all_counted(commits: Iterable[RoundCommitted]) -> bool:
    """The honest sites counted in every round, the hostile one in those in which it was honest."""
    everybody = {*HONEST, HOSTILE}
    return all(set(c.counted) == (set(HONEST) if c.round == ATTACK_IN else everybody) for c in commits)


def _study_text(attack: Attack, seed: int) -> str:
    return STUDY.format(name=attack.study, seed=seed, size_px=SIDE_PX, rounds=ROUNDS, quorum=len(HONEST))


def _follow(federation: LocalFederation, attack: Attack, folder: StudyFolder) -> dict[str, Any]:
    progress_console().print(f"Study {folder.name} ...")
    finished = await_end(federation, folder) is StudyState.FINISHED
    records = [record for _, record in read_records(folder.path / "journal.jsonl")]
    model = folder.path / FINAL_MODEL
    return judge(attack, records, finished=finished) | {
        "weights_sha256": digest(model.read_bytes()) if finished else None,
        "seconds": seconds(folder),
    }


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
