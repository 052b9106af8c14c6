"""How a person reads two studies side by side, on 80 columns."""

import json
from typing import Any

from rich.console import Group
from rich.text import Text

from server.pooling import How
from server.report.comparison import Comparison, Side
from server.report.scores import Estimate
from server.report.words import METRICS, duration, share, size
from shared.console import table

_UNSET = "\N{EN DASH}"


def show_comparison(found: Comparison) -> Group:
    """The settings that differ, then the figures; the words beneath say what they do not show."""
    heads = ("", found.a.study, found.b.study)
    settings = table(heads, ((s.key, _value(s.a), _value(s.b)) for s in found.differ))
    one, other = _figures(found.a), _figures(found.b)
    figures = table(heads, ((_name(found, name), one[name], other[name]) for name in one))
    above = settings if found.differ else Text("Both study files say the same.")
    equal = "The two models are equal byte for byte." if found.same_model else "The two models differ."
    method = "" if "dice" in (found.a.measure, found.b.measure) else ", DeLong"
    note = f"Intervals are 95 %{method}; they do not test a difference."
    if "mean" in {how for side in (found.a, found.b) for how in (side.validation_how, side.test_how)}:
        note += "\n* mean of the sites' own figures, where not all release statistics to pool."
    return Group(above, Text(), figures, Text(f"\n{equal}\n{note}"))


def _figures(side: Side) -> dict[str, str]:
    return {
        "state": side.state,
        "rounds": f"{side.rounds} of {side.rounds_planned}",
        "sites": str(side.sites),
        "training patients": _UNSET if side.patients is None else f"{side.patients:,}",
        "updates counted": f"{side.counted} of {side.seats}",
        "validation": _estimate(side.validation, side.validation_how),
        "test": _estimate(side.test, side.test_how),
        "worst site": _worst(side),
        "gap to the best": share(side.gap),
        "updates received": size(side.update_bytes),
        "time in all": duration(side.seconds),
        "median round": duration(side.round_seconds),
        "final model": f"{side.model_digest[:12]}, of round {side.model_round}" if side.model_digest else _UNSET,
    }


def _name(found: Comparison, row: str) -> str:
    """What a row is called; a figure by its name, if it is the same of both."""
    known = row not in ("validation", "test") or found.a.measure != found.b.measure
    return row if known else f"{row} {METRICS[found.a.measure]}"


def _estimate(found: Estimate, how: How) -> str:
    if found.low is None or found.high is None:
        return share(found.value) + " *" * (how == "mean" and found.value is not None)
    return f"{share(found.value)} ({share(found.low)} to {share(found.high)})"


def _worst(side: Side) -> str:
    return share(None) if side.worst_site is None else f"{share(side.worst_merit)} ({side.worst_site})"


def _value(value: Any) -> str:
    return _UNSET if value is None else value if isinstance(value, str) else json.dumps(value)
