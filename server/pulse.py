"""A site's sign of life: its last heartbeat, as the engine tells it.

Flower stores until when a site is on line: its last heartbeat, and as long again as two of them may take.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PATIENCE = 2  # heartbeats; Flower's HEARTBEAT_PATIENCE


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A site's last heartbeat: how long ago it was, in seconds, and whether the next is not overdue yet."""

    age_s: float
    alive: bool


def pulses_of(nodes: Iterable[Any], sites: Mapping[int, str], *, now: float) -> dict[str, Pulse]:
    """By site, its last heartbeat; a site that has never connected is not in it.

    Args:
        nodes: Flower's `NodeInfo` of each node.
        sites: names by node id.
        now: Unix time, seconds.
    """
    return {
        sites[node.node_id]: Pulse(
            age_s=max(now - node.online_until + PATIENCE * node.heartbeat_interval, 0.0),
            alive=now < node.online_until,
        )
        for node in nodes
        if node.node_id in sites and node.online_until
    }
