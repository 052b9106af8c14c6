"""`wardround bench simulate`: what federation costs when all sites are virtual, beside a bare loop and beside pfl.

Runs `wardround simulate` twice, with few and with many sites, each in a process of its own, because memory is
read as a process's peak. Where another Python has pfl-research, its run of the same images over as many
clients follows, with its own bare loop; the scripts come from a folder that is named.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.text import Text

from deploy.bench.bed import workplace
from deploy.local import wardround_command
from shared.console import progress_console, table
from shared.errors import ConfigError, ResourceError

RATIO_AIM = 1.3  # a round against the bare loop
MEMORY_AIM = 1.15  # many sites against few
_SEED = "0"
_METHOD = (
    "Ours: the answers of `wardround simulate`. pfl: run_pfl.py and run_plain.py, one thread each, on the same images, "
    "dealt at random over as many clients, batches of 32, SGD at 0.05, one epoch. The networks differ (theirs has "
    "0.68 million parameters, and ours also scores validation patients), so each is held against its own bare loop."
)


def run(
    *, few: int, sites: int, rounds: int, npz: Path | None, peers: Path | None, python: Path | None
) -> dict[str, Any]:
    """Measure.

    Args:
        few, sites: numbers of virtual sites.
        rounds: of each study.
        npz: the images; None draws some, and then pfl has others.
        peers: the folder with run_pfl.py and run_plain.py; None leaves pfl out.
        python: a Python that has pfl.

    Raises:
        ConfigError: one of `peers` and `python` is missing, or the scripts are not there.
        ResourceError: a program failed.
    """
    scripts = _scripts(peers, python)
    console = progress_console()
    runs = []
    for count in (few, sites):
        console.print(f"{count} virtual sites ...")
        images = [] if npz is None else ["--npz", str(npz)]
        numbers = ["--sites", str(count), "--rounds", str(rounds)]
        words = [wardround_command(), "simulate", *numbers, "--seed", _SEED, *images, "--json"]
        runs.append(_own(_spoken(words, {})["data"]))
    peer = None
    if scripts:
        console.print(f"pfl, {sites} clients ...")
        peer = _peer(scripts, sites=sites, rounds=rounds, npz=npz)
    found = {"rounds": rounds, "method": _METHOD, "runs": runs, "memory_ratio": _memory_ratio(runs), "pfl": peer}
    return found | {"load_after": list(os.getloadavg())}


def missed(data: dict[str, Any]) -> Iterator[str]:
    """The aims that a measurement does not reach, one sentence each."""
    many = data["runs"][-1]
    if many["ratio"] > RATIO_AIM:
        yield f"A round takes {many['ratio']} times a bare loop on as many threads; the aim is {RATIO_AIM}."
    if data["memory_ratio"] > MEMORY_AIM:
        yield f"{many['sites']} sites take {data['memory_ratio']} times the memory of few; the aim is {MEMORY_AIM}."


def show(data: dict[str, Any]) -> Group:
    """A table for 80 columns."""
    rows = [
        (
            f"{each['sites']} sites",
            f"{each['seconds_per_round']:.2f} s",
            f"{each['plain_loop_s']:.2f} s",
            f"{each['ratio']:.2f}",
            f"{each['rss_peak_bytes'] / 1e6:.0f} MB",
        )
        for each in data["runs"]
    ]
    if pfl := data["pfl"]:
        memory = f"{pfl['rss_peak_bytes'] / 1e6:.0f} MB"
        cells = (f"{pfl['seconds_per_round']:.2f} s", f"{pfl['plain_loop_s']:.2f} s", f"{pfl['ratio']:.2f}")
        rows.append((f"pfl, {pfl['sites']}", *cells, memory))
    return Group(table(("", "a round", "bare loop", "ratio", "peak memory"), rows), Text(f"\n{data['method']}"))


def _own(answer: dict[str, Any]) -> dict[str, Any]:
    wanted = ("sites", "lanes", "seconds", "seconds_per_round", "plain_loops", "plain_loop_s", "one_core_s")
    return {key: answer[key] for key in (*wanted, "ratio", "ratio_to_one_core", "rss_peak_bytes", "weights_sha256")}


def _peer(scripts: Sequence[list[str]], *, sites: int, rounds: int, npz: Path | None) -> dict[str, Any]:
    with workplace(None) as root:
        options = ["--sites", str(sites), "--rounds", str(rounds), "--out", str(root)]
        variables = {} if npz is None else {"BENCH_NPZ": str(npz.resolve())}
        pfl, plain = (_spoken([*script, *options], variables) for script in scripts)
    loop_s = (plain["train_total_s"] / rounds) + plain["overhead_per_round_s"]
    return {
        "sites": sites,
        "seconds_per_round": pfl["round_wall_s"],
        "plain_loop_s": round(loop_s, 3),
        "ratio": round(pfl["round_wall_s"] / loop_s, 3),
        "rss_peak_bytes": int(pfl["peak_rss_mb"] * 1e6),
        "said": {"pfl": pfl, "plain": plain},
    }


def _memory_ratio(runs: Sequence[dict[str, Any]]) -> float:
    return round(float(runs[-1]["rss_peak_bytes"]) / float(runs[0]["rss_peak_bytes"]), 3)


def _scripts(peers: Path | None, python: Path | None) -> list[list[str]]:
    if (peers is None) != (python is None):
        raise ConfigError(
            "pfl needs both its scripts and a Python that has it.", remedy="Give --peers and --pfl-python, or neither."
        )
    if peers is None:
        return []
    scripts = [peers / name for name in ("run_pfl.py", "run_plain.py")]
    if missing := [script.name for script in scripts if not script.is_file()]:
        raise ConfigError(f"There is no {' and no '.join(missing)} in {peers}.", remedy="Name their folder.")
    return [[str(python), str(script.resolve())] for script in scripts]


def _spoken(words: list[str], variables: dict[str, str]) -> dict[str, Any]:
    """The last line of a program's output, which is JSON."""
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ | variables)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise ResourceError(
            f"{Path(words[0]).name} {Path(words[1]).name} failed.", remedy=done.stderr.strip()[-300:] or "Run it alone."
        )
    said: dict[str, Any] = json.loads(lines[-1])
    return said
