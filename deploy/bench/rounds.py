"""`wardround bench rounds`: seconds of a round that only exchanges a model, ours beside the stock engine's.

Ours are timed twice, with numbers that travel as float32 and as bfloat16 (`[transfer]`); the stock engine sends
float32. All stand at the same time and run in turns, a block of rounds each, so that they meet the same machine;
while one runs, the others' idle processes only poll. What is timed, and how, each side says itself.
"""

import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Group
from rich.text import Text

from deploy.bench import own_rounds, stock_rounds
from deploy.bench.bed import workplace
from deploy.bench.own_rounds import OwnRounds
from deploy.bench.stock_rounds import StockRounds
from shared.console import table
from shared.update import FloatDtype

MB = 1_000_000
AIMS_S = {1: 0.4, 45: 2.5}  # by model size in MB
STOCK_RATIOS = {1: 10.0, 45: 4.0}
OURS: tuple[tuple[str, FloatDtype, str], ...] = (  # name in the answer, dtype, name of the stock engine's ratio to it
    ("own", "float32", "stock_ratio"),
    ("own_bfloat16", "bfloat16", "stock_ratio_bfloat16"),
)
_BLOCKS = 2
_WORK = (
    "Each site scores the model on four images of 28 px and takes one optimizer step on one, so that the bytes of "
    "every update are new: Flower stores equal objects once, and a model sent back unchanged would hardly travel."
)


@dataclass(frozen=True)
class Ours:
    """Our side, its numbers travelling in one dtype."""

    rounds: OwnRounds
    dtype: FloatDtype

    def block(self, name: str, *, repetitions: int) -> dict[str, Any]:
        """As `System` says."""
        return self.rounds.block(f"{name}-{self.dtype}", repetitions=repetitions, dtype=self.dtype)


class System(Protocol):
    """Something whose rounds can be timed."""

    def block(self, name: str, *, repetitions: int) -> dict[str, Any]:
        """Seconds of so many rounds, under `seconds`, after one that does not count."""


def run(*, sites: int, sizes_mb: Iterable[int], repetitions: int = 5, stock: bool = True) -> dict[str, Any]:
    """Measure each size.

    Args:
        sites: how many.
        sizes_mb: sizes of the packed model, in millions of bytes.
        repetitions: rounds of each system and size that count.
        stock: whether the stock engine runs beside ours.
    """
    return {
        "sites": sites,
        "work": _WORK,
        "methods": {"own": own_rounds.METHOD, "stock": stock_rounds.METHOD},
        "sizes": [_measure(size, sites=sites, repetitions=repetitions, stock=stock) for size in sizes_mb],
        "load_after": _load(),
    }


def missed(data: dict[str, Any]) -> list[str]:
    """The aims that a measurement does not reach, one sentence each."""
    return [sentence for size in data["sizes"] for sentence in _missed(size)]


def show(data: dict[str, Any]) -> Group:
    """A table for 80 columns."""
    columns = ("model", "engine", "median", "range", "stock takes, times")
    rows = (row for size in data["sizes"] for row in _rows(size))
    lines = f"\n{data['sites']} sites, TLS, node authentication; seconds from a round's opening to the next."
    return Group(table(columns, rows), Text(lines), Text(data["work"]))


def summary(seconds: list[float]) -> dict[str, Any]:
    """Median and range of one system's rounds, in seconds."""
    return {
        "seconds": seconds,
        "median_s": round(statistics.median(seconds), 3),
        "range_s": [min(seconds), max(seconds)],
    }


def shares(repetitions: int, blocks: int = _BLOCKS) -> list[int]:
    """How many rounds each block measures; as even as can be, none empty."""
    blocks = min(blocks, repetitions)
    return [repetitions // blocks + (number < repetitions % blocks) for number in range(blocks)]


def _measure(size_mb: int, *, sites: int, repetitions: int, stock: bool) -> dict[str, Any]:
    with workplace(None) as root:
        for name in ("own", "stock"):
            (root / name).mkdir()
        with OwnRounds(root / "own", sites=sites, model_bytes=size_mb * MB) as own:
            first = own.block("warm-up", repetitions=1)  # tells the packed model's exact size
            _say(f"{size_mb} MB: the model packs to {own.model_bytes} bytes; {first['seconds']} s at first.")
            found: dict[str, Any] = {"mb": size_mb, "model_bytes": own.model_bytes, "width": own.width}
            ours: dict[str, System] = {name: Ours(own, dtype) for name, dtype, _ in OURS}
            if not stock:
                return found | _interleaved(ours, repetitions)
            with StockRounds(root / "stock", sites=sites, array_bytes=own.model_bytes) as other:
                found |= _interleaved(ours | {"stock": other}, repetitions)
    ratios = {key: round(found["stock"]["median_s"] / found[name]["median_s"], 2) for name, _, key in OURS}
    return found | ratios


def _interleaved(systems: dict[str, System], repetitions: int) -> dict[str, Any]:
    blocks = list(_blocks(systems, repetitions))
    found: dict[str, Any] = {"blocks": blocks}
    for name in systems:
        found[name] = summary([second for block in blocks if block["system"] == name for second in block["seconds"]])
    return found


def _blocks(systems: dict[str, System], repetitions: int) -> Iterator[dict[str, Any]]:
    for number, share in enumerate(shares(repetitions), start=1):
        for name, system in systems.items():
            before, started = _load(), time.monotonic()
            seconds = system.block(f"block-{number}", repetitions=share)
            _say(f"  {name}, block {number}: {seconds['seconds']} s")
            whole = round(time.monotonic() - started, 1)
            yield {"system": name, **seconds, "block_s": whole, "load_before": before, "load_after": _load()}


def _missed(size: dict[str, Any]) -> Iterator[str]:
    aim, ratio = AIMS_S.get(size["mb"]), STOCK_RATIOS.get(size["mb"])
    for name, dtype, key in OURS:
        what = f"{size['mb']} MB in {dtype}"
        if aim is not None and size[name]["median_s"] > aim:
            yield f"A round of {what} took {size[name]['median_s']} s; the aim is {aim} s."
        if ratio is not None and size.get(key, ratio) < ratio:
            yield f"At {what} the stock engine took {size[key]} times as long; the aim is {ratio:g}."


def _rows(size: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Ours in each dtype, then the stock engine, which sends float32."""
    for name, dtype, key in OURS:
        ratio = f"{size[key]:.1f}" if key in size else ""
        yield (f"{size['model_bytes'] / MB:.2f} MB", f"ours, {dtype}", *_told(size[name]), ratio)
    if "stock" in size:
        yield ("", "stock, float32", *_told(size["stock"]), "")


def _told(figures: dict[str, Any]) -> tuple[str, str]:
    return f"{figures['median_s']:.2f} s", _range(figures)


def _range(figures: dict[str, Any]) -> str:
    low, high = figures["range_s"]
    return f"{low:.2f}-{high:.2f}"


def _load() -> list[float]:
    return [round(value, 2) for value in os.getloadavg()]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
