"""The queue: which of a federation's studies get a process of their own now.

Studies in progress share the sites. A site takes one piece of work at a time, in the order in which it
was asked, and each study asks a site one thing at a time: so they take turns, round by round. At most
`PLACES` studies are in progress, because a site keeps the images and the model of each in memory; the
one that was queued first comes first. A study that waits for sites that are not connected takes no
place, so that it holds nobody up.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from server.rounds import IN_HAND, Phase
from server.study_folder import StudyState

PLACES = 4
MOST = 16  # processes, those that wait for sites included
_ABSENT = frozenset({Phase.WAITING, Phase.LOST})


@dataclass(frozen=True)
class Contender:
    """A study that runs or wants to.

    Attributes:
        study: its name.
        state: running or queued.
        since: when it came into that state, RFC 3339.
        has_process: whether a process conducts it, or is being started.
        waits_for_sites: whether that process can do nothing until a site connects.
    """

    study: str
    state: StudyState
    since: str
    has_process: bool = False
    waits_for_sites: bool = False


def to_start(contenders: Iterable[Contender]) -> list[Contender]:
    """Those that get a process now: first those that had one and lost it, then those queued longest."""
    everybody = list(contenders)
    working = [c for c in everybody if c.has_process]
    free = min(PLACES - sum(not c.waits_for_sites for c in working), MOST - len(working))
    line = sorted(
        (c for c in everybody if not c.has_process), key=lambda c: (c.state is StudyState.QUEUED, c.since, c.study)
    )
    return line[: max(free, 0)]


def waits_for_sites(view: Mapping[str, Any]) -> bool:
    """Whether a study's live view shows that nothing moves until a site connects, or agrees."""
    sites = view.get("sites", ())
    waiting = any(site.get("held") or site.get("phase") in _ABSENT for site in sites)
    return waiting and not any(site.get("phase") in IN_HAND and not site.get("held") for site in sites)
