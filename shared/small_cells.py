"""Small cells: which counts of patients are not published, because few people could be told from them.

Pure. A count above 0 and below the limit is hidden. So that it does not follow from the others and their total,
further ones are hidden with it, the smallest first, until those hidden are at least two and add up to the limit. Where
there are not enough others, the total is hidden as well. 0 is told: it is about nobody.
"""

from collections.abc import Mapping
from typing import NamedTuple

SMALLEST_CELL = 11  # as the sites' own default (client/policy.py)


class Told(NamedTuple):
    """Counts by name, and their total; None where hidden."""

    counts: dict[str, int | None]
    total: int | None


def tell(counts: Mapping[str, int], *, smallest: int) -> Told:
    """Hide what is too small among counts that add up to a total.

    Args:
        counts: patients by name.
        smallest: the least count above 0 that is told; 1 hides nothing.
    """
    rising = sorted((name for name in counts if counts[name]), key=lambda name: (counts[name], name))
    hidden = [name for name in rising if counts[name] < smallest]
    others = rising[len(hidden) :]
    while hidden and others and not _safe(hidden, counts, smallest):
        hidden.append(others.pop(0))
    total = sum(counts.values())
    told = {name: None if name in hidden else count for name, count in counts.items()}
    return Told(told, None if hidden and not _safe(hidden, counts, smallest) else total)


def _safe(hidden: list[str], counts: Mapping[str, int], smallest: int) -> bool:
    return len(hidden) > 1 and sum(counts[name] for name in hidden) >= smallest
