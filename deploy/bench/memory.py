"""`wardround bench memory`: how much of a large model the server holds, and whether sites add to it.

One federation per number of sites, whose agents are real and whose work is none (`light_site`). The
memory of the ServerApp and of the SuperLink is read while a study of a few rounds runs.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

from rich.console import Group
from rich.text import Text

from client.imaging.settings import DataSettings
from deploy.bench import gauge
from deploy.bench.bed import finish, queue, start_light, workplace
from deploy.bench.family import server_parts
from deploy.bench.gauge import Gauge
from deploy.bench.noop import study_text, width_for
from deploy.local import LocalFederation
from server.journal import read_records
from server.launch import START_MODEL
from server.records import RoundOpened
from server.study_folder import StudyFolder
from shared.console import table

MB = 1_000_000
ROUNDS = 3
SLOPE_AIM = 0.02  # models per site, ServerApp
PEAK_AIM = 5.0  # models above idle, ServerApp
RATIO_AIM = 1.3  # SuperLink's peak with the most sites, against that with the fewest
_PATIENCE_S = 1800.0  # sixteen sites of 100 MB on two busy cores
_PARTS = ("serverapp", "superlink")
_METHOD = (
    f"{gauge.METHOD}; idle is the last reading before the first round opens, the peak the highest after it. Each "
    "site's update is random numbers of its own, so that nothing is stored once for two sites. The sites are "
    "real agents, all in one process, without a worker."
)


def run(*, sites: Iterable[int], model_mb: int, rounds: int = ROUNDS) -> dict[str, Any]:
    """Measure each number of sites.

    Args:
        sites: the numbers of sites.
        model_mb: size of the packed model, in millions of bytes.
        rounds: of each study.
    """
    runs = [_measure(number, model_bytes=model_mb * MB, rounds=rounds) for number in sorted(sites)]
    return {"method": _METHOD, "rounds": rounds, "runs": runs} | figures(runs) | {"load_after": list(os.getloadavg())}


def figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """What the aims are about, from runs in the order of their sites; None where one run says nothing."""
    slopes = [
        (after["serverapp_models_above_idle"] - before["serverapp_models_above_idle"])
        / (after["sites"] - before["sites"])
        for before, after in pairwise(runs)
    ]
    peaks = [each["superlink"]["peak_bytes"] for each in runs]
    return {
        "serverapp_models_per_site": round(max(slopes), 4) if slopes else None,
        "serverapp_models_above_idle": max(each["serverapp_models_above_idle"] for each in runs),
        "superlink_ratio": round(peaks[-1] / peaks[0], 3) if slopes else None,
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """The aims that a measurement does not reach, one sentence each."""
    slope, above, ratio = (
        data["serverapp_models_per_site"],
        data["serverapp_models_above_idle"],
        data["superlink_ratio"],
    )
    if slope is not None and slope > SLOPE_AIM:
        yield f"The ServerApp holds {slope} models more for each site; the aim is {SLOPE_AIM}."
    if above > PEAK_AIM:
        yield f"The ServerApp holds {above} models above idle; the aim is {PEAK_AIM:g}."
    if ratio is not None and ratio > RATIO_AIM:
        yield f"The SuperLink's peak grows {ratio} times with the sites; the aim is {RATIO_AIM}."


def show(data: dict[str, Any]) -> Group:
    """A table for 80 columns."""
    rows = (
        (
            each["sites"],
            *(f"{each[name][key] / MB:.0f} MB" for name in _PARTS for key in _KEYS),
            f"{each['serverapp_models_above_idle']:.2f}",
        )
        for each in data["runs"]
    )
    columns = ("sites", "ServerApp idle", "peak", "SuperLink idle", "peak", "models above idle")
    return Group(table(columns, rows), Text(f"\n{data['method']}"))


_KEYS = ("idle_bytes", "peak_bytes")


def _measure(sites: int, *, model_bytes: int, rounds: int) -> dict[str, Any]:
    with workplace(None) as root:
        unread = root / "none.npz"  # a light site looks at no image
        names = [f"site-{number}" for number in range(1, sites + 1)]
        federation = LocalFederation(root, {name: DataSettings(kind="npz", file=unread) for name in names})
        with federation:
            federation.serve()
            start_light(federation, group=sites)
            text = study_text("memory", width=width_for(model_bytes), rounds=rounds, sites=sites, deadline_s=3600)
            with Gauge(lambda: server_parts(federation)) as reader:
                folder = queue(federation, text)
                finish(federation, folder, patience_s=_PATIENCE_S)
            return _account(folder, reader, sites)


def _account(folder: StudyFolder, reader: Gauge, sites: int) -> dict[str, Any]:
    records = read_records(folder.path / "journal.jsonl")
    opened = next(datetime.fromisoformat(e.time).timestamp() for e, r in records if isinstance(r, RoundOpened))
    size = (folder.path / START_MODEL).stat().st_size
    found: dict[str, Any] = {"sites": sites, "model_bytes": size}
    for name in _PARTS:
        idle, peak = reader.last(name, before=opened), reader.peak(name, after=opened)
        found[name] = {"idle_bytes": idle, "peak_bytes": peak}
        found[f"{name}_models_above_idle"] = round((peak - idle) / size, 3)
    return found
