"""`wardround bench crowd`: what many sites cost one server, while they wait and while they exchange a model.

A real SuperLink over TLS with node authentication, and as many real agents without images
(`light_site`), in a few processes. First they only wait for work: the SuperLink's share of a core. Then a
study of a few rounds runs: seconds of a round, and the memory of the server's two processes.
"""

import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil
from rich.console import Group
from rich.text import Text

from client.imaging.settings import DataSettings
from deploy.bench import gauge
from deploy.bench.bed import finish, queue, start_light, workplace
from deploy.bench.family import server_parts
from deploy.bench.gauge import Gauge
from deploy.bench.noop import study_text, width_for
from deploy.bench.own_rounds import timed
from deploy.local import LocalFederation
from server.journal import read_records
from shared.console import progress_console, table

MB = 1_000_000
IDLE_AIM = 15.0  # per cent of a core, SuperLink, all sites waiting
PARTS = ("superlink", "serverapp")
_GROUP = 16  # agents in one process
_CALM_S = 20.0  # after the first study's end every agent polls at its idle pace
_PATIENCE_S = 1800.0
_METHOD = (
    "Idle: the SuperLink's user and system time over so many seconds in which every site is connected and has no work, "
    f"in per cent of a core. Rounds: {{rounds}} of a model of {{mb}} MB, by the journal, the first and the last left "
    f"out. Memory: {gauge.METHOD}."
)


def run(*, sites: int, model_mb: int = 1, rounds: int = 5, idle_s: float = 30.0) -> dict[str, Any]:
    """Measure one crowd.

    Args:
        sites: how many agents.
        model_mb: size of the packed model, in millions of bytes.
        rounds: of the study that is measured, from 3.
        idle_s: how long the idle SuperLink is watched, in seconds.

    Raises:
        StudyError: a study did not finish.
        ResourceError: a process of the federation ended.
    """
    console = progress_console()
    with workplace(None) as root:
        names = [f"site-{number:03d}" for number in range(1, sites + 1)]
        unread = DataSettings(kind="npz", file=root / "none.npz")  # a light site looks at no image
        console.print(f"Provisioning {sites} sites ...")
        with LocalFederation(root, dict.fromkeys(names, unread)) as federation:
            federation.serve()
            start_light(federation, group=_GROUP)
            console.print("A study of one round, so that every site is there ...")
            gather = study_text("gather", width=8, rounds=1, sites=sites, deadline_s=900)
            finish(federation, queue(federation, gather), patience_s=_PATIENCE_S)
            console.print(f"Watching the idle SuperLink for {idle_s:.0f} s ...")
            time.sleep(_CALM_S)
            idle = idle_share(server_parts(federation)["superlink"], seconds=idle_s)
            console.print(f"{rounds} rounds of {model_mb} MB ...")
            text = study_text("crowd", width=width_for(model_mb * MB), rounds=rounds, sites=sites, deadline_s=1800)
            with Gauge(lambda: _watched(federation)) as reader:
                folder = queue(federation, text)
                finish(federation, folder, patience_s=_PATIENCE_S)
            figures = timed((entry.time, record) for entry, record in read_records(folder.path / "journal.jsonl"))
    return {
        "sites": sites,
        "method": _METHOD.format(rounds=rounds, mb=model_mb),
        "superlink_idle_percent": idle,
        "idle_s": idle_s,
        "round_s": figures["seconds"],
        "memory_peak_bytes": {part: reader.peak(part) for part in PARTS},
        "load_after": list(os.getloadavg()),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """The aim that a measurement does not reach."""
    if data["superlink_idle_percent"] > IDLE_AIM:
        yield (
            f"The SuperLink takes {data['superlink_idle_percent']} % of a core while {data['sites']} sites wait; "
            f"the aim is {IDLE_AIM:g} %."
        )


def show(data: dict[str, Any]) -> Group:
    """A table for 80 columns."""
    peak = data["memory_peak_bytes"]
    rounds = ", ".join(f"{value:.1f}" for value in data["round_s"])
    rows = [
        ("SuperLink, idle", f"{data['superlink_idle_percent']:.1f} % of a core"),
        ("rounds", f"{rounds} s"),
        ("SuperLink, peak", f"{peak['superlink'] / MB:.0f} MB"),
        ("ServerApp, peak", f"{peak['serverapp'] / MB:.0f} MB"),
    ]
    return Group(table((f"{data['sites']} sites", ""), rows), Text(f"\n{data['method']}"))


def idle_share(pid: int, *, seconds: float) -> float:
    """Per cent of a core that a process takes over the next seconds."""
    process = psutil.Process(pid)
    before, started = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after, passed = process.cpu_times(), time.monotonic() - started
    return round(100 * (after.user + after.system - before.user - before.system) / passed, 2)


def _watched(federation: LocalFederation) -> Mapping[str, int]:
    return {part: pid for part, pid in server_parts(federation).items() if part in PARTS}
