"""Kill a site at every durable write of its budget, put backups back, ask for too much: no patient may pay too little.

1. A site takes the steps of `budget_script.py` and is killed before its n-th durable write, for each n; started again,
   it goes on to the end. At both times the budget must say at least what the patients have been in, and it must not
   ask for a reconciliation, but in the midst of those steps that are about one: a crash is no restore. Among the steps
   are a person's: rounds are given back, a loss is reconciled and declared, a lie dismissed.
2. After each step a copy of the budget's file is kept. At the end each older copy is put back in turn, and a private
   study asked for: it must be refused.
3. A study that costs more than the limit leaves must be refused, by the accountant's own figures.

A kill loses nothing that the kernel was given; what a power cut may lose is left to fsync, whose calls are counted.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import Any, Self

from rich.console import RenderableType

from client.privacy.budget import Budget, unpacked
from client.privacy.budget_file import FILE_NAME, open_budget
from client.privacy.price import dearest
from client.privacy.training_patients import TrainingPatients
from deploy.bench.budget_script import (
    ASKING,
    PATIENTS,
    UNKNOWING,
    next_step,
    open_purse,
    patient,
    play,
    study,
    touched,
)
from deploy.provision import provision
from shared.console import facts
from shared.errors import Refusal, ResourceError, WireCode

_SITE = "north"
_NOW = 1_800_000_000


def run(*, every: int = 1, keep: Path | None = None) -> dict[str, Any]:
    """Do the three.

    Args:
        every: at which durable writes: each, or each so many.
        keep: where the folders stay; None for nowhere.
    """
    with ExitStack() as stack:
        root = keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wardround-budget-")))
        root.mkdir(parents=True, exist_ok=True)
        place = provision(root / "fresh", name="ward", host="127.0.0.1", fleet_port=9, sites=[_SITE], now=_NOW)
        victims = stack.enter_context(Victims())
        moments = _moments(victims, _copy(root, place.sites[_SITE], "undisturbed"), every)
        killed = [_killed(victims, _copy(root, place.sites[_SITE], f"killed-{at}"), at) for at in moments]
        tried, refused = _restored(_copy(root, place.sites[_SITE], "restored"))
        return {
            "kills": sum(case["died"] for case in killed),
            "under_counted": sum(case["under_counted"] for case in killed),
            "over_counted_steps": max((case["over_counted"] for case in killed), default=0),
            "refused_after_a_crash": sum(case["refused"] for case in killed),
            "backups_restored": tried,
            "restored_backup_refused": tried > 0 and refused == tried,
            "over_budget_study_refused": _over_budget(_copy(root, place.sites[_SITE], "over")),
        }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What was promised and not kept."""
    if data["under_counted"]:
        yield f"{data['under_counted']} patients paid too little after a kill."
    if data["refused_after_a_crash"]:
        yield "A crash alone made the budget ask for a reconciliation."
    if not data["restored_backup_refused"]:
        yield "A budget that was restored from a backup was spent from."
    if not data["over_budget_study_refused"]:
        yield "A study beyond the limit was not refused."


def show(data: dict[str, Any]) -> RenderableType:
    """The figures, one a line."""
    return facts({name.replace("_", " "): str(value) for name, value in data.items() if name != "machine"})


# ------------------------------------------------------------------ 1: kills


class Victims:
    """The program of `budget_victim.py`, one site after the other; ended with its block."""

    def __enter__(self) -> Self:
        command = (sys.executable, "-m", "deploy.bench.budget_victim")
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exc: object) -> None:
        self._child.communicate()

    def live(self, folder: Path, kill_at: int) -> tuple[str, int]:
        """Let the site in a folder take its steps: how it ended, and after how many writes if at its end."""
        assert self._child.stdin is not None and self._child.stdout is not None
        print(folder, kill_at, file=self._child.stdin, flush=True)
        ended, writes = self._child.stdout.readline().split()
        return ended, int(writes)


def _moments(victims: Victims, folder: Path, every: int) -> range:
    """At which writes to kill, from how many there are when nobody does."""
    ended, writes = victims.live(folder, 0)
    if ended != "done":
        raise ResourceError("The undisturbed site did not come to its end.", remedy="Look at what it printed.")
    return range(1, writes + 1, every)


def _killed(victims: Victims, folder: Path, at: int) -> dict[str, int]:
    found = {"died": 0, "under_counted": 0, "over_counted": 0, "refused": 0}
    for kill_at in (at, 0):
        ended, _ = victims.live(folder, kill_at)
        budget, step = _budget(folder), (next_step(folder) or "").split(" ")[0]
        found["died"] += ended == "killed"
        found["refused"] += ended == "failed" or (budget is None and step not in ASKING)
        if step in UNKNOWING or (budget is None and step in ASKING):
            continue  # a site that refuses spends nothing
        paid, owed = _paid(budget or Budget()), touched(folder)
        found["under_counted"] += sum(paid[one] < steps for one, steps in owed.items())
        found["over_counted"] = max((steps - owed.get(one, 0) for one, steps in paid.items()), default=0)
    shutil.rmtree(folder.parent)
    return found


def _budget(folder: Path) -> Budget | None:
    """What the site would go on from; None if it would refuse."""
    try:
        return open_budget(folder).read().budget
    except Refusal:
        return None


def _paid(budget: Budget) -> dict[bytes, int]:
    everyone = sum(run.steps for run in budget.everyone)
    paid = dict.fromkeys(map(patient, chain(*PATIENTS.values())), everyone)
    for group in budget.groups:
        steps = everyone + sum(run.steps for run in group.history)
        paid |= dict.fromkeys(unpacked(group.patients), steps)
    return paid


def _copy(root: Path, fresh: Path, name: str) -> Path:
    return Path(shutil.copytree(fresh, root / name / fresh.name))


# ------------------------------------------------------------------ 2 and 3: what must be refused


def _restored(folder: Path) -> tuple[int, int]:
    """How many older files were put back, and how many of them a site refused to spend from."""
    copies: list[bytes] = []
    play(folder, ended=lambda _: copies.append((folder / FILE_NAME).read_bytes()))
    refused = 0
    for copy in copies[:-1]:
        (folder / FILE_NAME).write_bytes(copy)
        refused += _refuses(folder, WireCode.BUDGET_STALE)
    return len(copies) - 1, refused


def _over_budget(folder: Path) -> bool:
    """One study fits the limit; two of them do not."""
    alone = open_purse(folder, price=dearest)
    _offer(folder, "one")
    alone.reserve(study("one"))
    budget = _budget(folder)
    assert budget is not None
    most = dearest(budget.pasts(), 1e-6) * 1.01
    return _refuses(folder, WireCode.OVER_BUDGET, limit=most)


def _refuses(folder: Path, code: WireCode, *, limit: float | None = None) -> bool:
    _offer(folder, "two")
    try:
        open_purse(folder, price=dearest, limit=limit).reserve(study("two"))
    except Refusal as refusal:
        return refusal.wire_code is code
    return False


def _offer(folder: Path, name: str) -> None:
    TrainingPatients(folder).offer(study(name).digest(), frozenset(map(patient, PATIENTS[name])))
