"""Small cells: which counts of patients are not published, because few people could be told from them.

Pure. A count above 0 and below the limit is hidden, by these rules:

1. So that it does not follow from the others and their total, further ones are hidden with it, the smallest first,
   until those hidden are at least two and add up to the limit. Where there are not enough others, the total is hidden
   as well. 0 is told: it is about nobody.
2. Where sums of other groups are told beside the total, a hidden count could be what one sum has more than another.
   Then no total is told: if no sum has a small count in it, the small ones alone are hidden, else all are.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import NamedTuple, TypeVar

SMALLEST_CELL = 11  # as the sites' own default (client/policy.py)
Cell = TypeVar("Cell")


class Told(NamedTuple):
    """Counts by name, and their total; None where hidden."""

    counts: dict[str, int | None]
    total: int | None


def hide(few: Iterable[Cell], others: Iterable[Cell], *, safe: Callable[[list[Cell]], bool]) -> list[Cell]:
    """What is to be hidden: the few, and of the others, in their order, so many that those hidden are safe together."""
    hidden, rest = list(few), list(others)
    while rest and not safe(hidden):
        hidden.append(rest.pop(0))
    return hidden


def tell(counts: Mapping[str, int], *, smallest: int, sums: Iterable[Collection[str]] = ()) -> Told:
    """Hide what is too small among counts that add up to a total.

    Args:
        counts: patients by name.
        smallest: the least count above 0 that is told; 1 hides nothing.
        sums: the names of each group whose sum is told elsewhere.
    """
    rising = sorted((name for name in counts if counts[name]), key=lambda name: (counts[name], name))
    small = [name for name in rising if counts[name] < smallest]
    groups = [group for names in sums if (group := set(names) & set(rising))]
    if small and any(group != set(rising) for group in groups):  # rule 2
        hidden = rising if any(not group.isdisjoint(small) for group in groups) else small
        return Told(_without(hidden, counts), None)

    def safe(names: list[str]) -> bool:
        return not small or (len(names) > 1 and sum(counts[name] for name in names) >= smallest)

    hidden = hide(small, rising[len(small) :], safe=safe)
    return Told(_without(hidden, counts), sum(counts.values()) if safe(hidden) else None)


def _without(hidden: Collection[str], counts: Mapping[str, int]) -> dict[str, int | None]:
    return {name: None if name in hidden else count for name, count in counts.items()}
