"""How much memory this account may take: the machine's, or less where its control group says so (cgroups(7))."""

import os
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_NAMES = ("memory.max", "memory.limit_in_bytes")  # of version 2 and of version 1


def memory_bytes() -> int:
    """Bytes of memory of the machine or of our control group, the least."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min((physical, *group_limits(_GROUPS, Path("/proc/self/cgroup"))))


def group_limits(groups: Path, own: Path) -> Iterator[int]:
    """The limits in bytes of our control groups and of those that they are in.

    Args:
        groups: where control groups are mounted.
        own: which are ours, a line each: a number, what they limit, and a path.
    """
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:  # not Linux
        return
    for _, limits, path in lines:
        mount = groups / "memory" if "memory" in limits.split(",") else groups
        inner = mount / path.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(mount):
                yield from _said(folder)


def _said(folder: Path) -> Iterator[int]:
    for name in _NAMES:
        try:
            text = (folder / name).read_text().strip()
        except OSError:
            continue
        if text.isdecimal():  # else "max"
            yield int(text)
