"""`wardround bench data`: how fast images come from the disk to the network, and how much of them is held.

Speed is `supply_times`'s matter. Memory is that of a site, and of all that decode for it, over a catalogue whose cache
is larger than what it may hold (`supply_site`).
"""

import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from rich.console import Group, RenderableType
from rich.text import Text

from client.imaging.crew import hands
from deploy.bench.gauge import METHOD, Gauge
from deploy.bench.supply_files import lay_files
from deploy.bench.supply_site import IMAGE_BYTES
from deploy.bench.supply_times import figures, ratio, times
from shared.console import table
from shared.errors import StudyError

WARM_AIM = 0.9  # of the images per second over tensors that were loaded before
LIMIT_BYTES = 10**9
_PATIENCE_S = 7200
_HELD = f"{METHOD}, of the site and its decoders together; each has RLIMIT_DATA at the limit"


def run(*, gb: float, files: int, repetitions: int, seed: int) -> dict[str, Any]:
    """Measure speed over some files, then memory over many.

    Args:
        gb: size of the cache of the large catalogue, in 10^9 bytes.
        files: number of files whose reading is timed.
        repetitions: of each.
        seed: of pictures and orders.

    Raises:
        StudyError: the site could not read its catalogue within the limit.
    """
    with TemporaryDirectory(prefix="wardround-data-") as name:
        few, many = Path(name, "few"), Path(name, "many")
        lay_files(few, files, seed=seed)
        timed = times(few, Path(name, "timed"), repetitions=repetitions, seed=seed)
        lay_files(many, max(1, round(gb * 1e9 / IMAGE_BYTES)), seed=seed)
        held = _held(many, Path(name, "cache"), seed=seed)
    return {
        "files": files,
        "repetitions": repetitions,
        "decoders": hands(),
        **{name: figures(took, images=files) for name, took in timed.items()},
        "warm_ratio": ratio(timed["preloaded"], timed["warm"], "seconds"),
        "warm_ratio_cpu": ratio(timed["preloaded"], timed["warm"], "cpu_s"),
        "cold_ratio_per_core": ratio(timed["pydicom"], timed["cold"], "cpu_s"),
        "memory": held | {"limit_bytes": LIMIT_BYTES, "method": _HELD},
        "pydicom_version": metadata.version("pydicom"),
        "load_after": list(os.getloadavg()),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """The aims that a measurement does not reach, one sentence each."""
    if data["warm_ratio"] < WARM_AIM:
        yield f"A warm epoch reads {data['warm_ratio']} of the images per second of tensors in memory, not {WARM_AIM}."
    held = data["memory"]
    if held["read"] != held["images"]:
        yield f"{held['images'] - held['read']} images of the large catalogue were not read."
    if held["peak_bytes"] > held["limit_bytes"]:
        yield f"The site held {held['peak_bytes'] / 1e6:.0f} MB; its limit is {held['limit_bytes'] / 1e6:.0f} MB."


def show(data: dict[str, Any]) -> RenderableType:
    """One row for each way to read, and what the site held."""
    ways = ("cold", "pydicom", "warm", "preloaded")
    rows = (
        (way, *(f"{data[way][key]:,.1f}" for key in ("per_s", "least_per_s", "most_per_s", "per_cpu_s")))
        for way in ways
    )
    held = data["memory"]
    said = (
        f"\nwarm {data['warm_ratio']} of preloaded ({data['warm_ratio_cpu']} by processor time); cold"
        f" {data['cold_ratio_per_core']} of a pydicom loop per core, on up to {data['decoders']} at once; at most"
        f" {held['peak_bytes'] / 1e6:.0f} MB held for {held['images']:,} images,"
        f" {held['cache_bytes'] / 1e6:,.0f} MB in the cache"
    )
    return Group(table(("images", "per s", "least", "most", "per CPU s"), rows), Text(said))


def _held(folder: Path, cache: Path, *, seed: int) -> dict[str, Any]:
    """What a site read of a catalogue, and the most that it and its decoders held at one time."""
    site = (sys.executable, "-P", "-m", "deploy.bench.supply_site", folder, cache, str(LIMIT_BYTES), str(seed))
    process = subprocess.Popen(site, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process, Gauge(lambda: _family(process.pid)) as gauge:
        said, _ = process.communicate(timeout=_PATIENCE_S)
    if process.returncode:
        raise StudyError("The site ended before it had read its catalogue.", remedy="Run it on a machine with memory.")
    together: dict[float, int] = defaultdict(int)
    for reading in gauge.readings:
        together[reading.at] += reading.bytes
    return dict(json.loads(said)) | {"peak_bytes": max(together.values(), default=0)}


def _family(pid: int) -> dict[str, int]:
    try:
        site = psutil.Process(pid)
        return {f"{one.pid}": one.pid for one in (site, *site.children(recursive=True))}
    except psutil.NoSuchProcess:
        return {}
