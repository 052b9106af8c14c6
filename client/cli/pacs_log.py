"""`wardround site pacs-log`: what came from the PACS and what was stored in it, as the ledger says."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config
from client.settings import folder_of
from client.waiting_entries import DAMAGED, Waiting, entries_said
from shared.console import Answer, answering, printable, table


class Row(NamedTuple):
    """What one pull brought, or one day stored."""

    when: str
    what: str
    pacs: str
    objects: str
    megabytes: str
    end: str


@answering("site.pacs_log")
def pacs_log(config: Config = DEFAULT_CONFIG) -> Answer:
    """List what came from the site's PACS, and what was stored in it: when, how much, how it ended."""
    from client.pacs.pull_entries import BEGAN, ENDED
    from client.pacs.storing import STORED

    entries = list(entries_said(folder_of(config), {BEGAN, ENDED, STORED, DAMAGED}))
    ended = [one.data for one in entries if one.type == ENDED]
    cut = [one.data for one in entries if one.type == BEGAN and not _has_end(one.data, ended)]
    stored = [one.data for one in entries if one.type == STORED]
    rows = sorted([*map(_pulled, ended), *map(_cut, cut), *_by_day(entries, STORED)])
    total = sum(one["bytes"] for one in ended)
    damaged = sum(one.type == DAMAGED for one in entries)
    said = {"pulls": ended, "pulls_cut": cut, "stored": stored, "pulled_bytes": total, "damaged": damaged}
    words = f"{len(ended) + len(cut):,} pulls, {total / 1e6:,.1f} MB; {len(stored):,} results stored"
    if damaged:
        words += f"\n{damaged:,} lines were damaged before the ledger had them, and say nothing here"
    return Answer(said, Group(*shown(rows), Text(words)))


def shown(rows: Sequence[Row]) -> Iterator[RenderableType]:
    """The rows for 80 columns; a PACS, whose address may be long, is named below them."""
    numbers = {pacs: str(number) for number, pacs in enumerate(dict.fromkeys(row.pacs for row in rows), start=1)}
    yield table(
        ("when", "what", "PACS", "objects", "MB", "end"), (row._replace(pacs=numbers[row.pacs]) for row in rows)
    )
    yield from (Text(printable(f"PACS {number}: {pacs}"), overflow="fold") for pacs, number in numbers.items())


def _has_end(began: dict[str, Any], ended: Iterable[dict[str, Any]]) -> bool:
    return any(one["began"] == began["began"] for one in ended)


def _pulled(one: dict[str, Any]) -> Row:
    objects, megabytes = f"{one['pulled']:,}", f"{one['bytes'] / 1e6:,.1f}"
    return Row(_minute(one["began"]), "pulled", one["source"], objects, megabytes, one["end"])


def _cut(one: dict[str, Any]) -> Row:
    return Row(_minute(one["began"]), "pulled", one["source"], "", "", "killed, or runs")


def _by_day(entries: Iterable[Waiting], kind: str) -> Iterator[Row]:
    """Results of a day in one PACS stand in one row."""
    days: dict[tuple[str, str], list[int]] = {}
    for one in entries:
        if one.type == kind:
            days.setdefault((one.data["stored"][:10], one.data["destination"]), []).append(one.data["bytes"])
    for (day, pacs), sizes in days.items():
        yield Row(day, "stored", pacs, f"{len(sizes):,}", f"{sum(sizes) / 1e6:,.1f}", "")


def _minute(time: str) -> str:
    return time[:16].replace("T", " ")
