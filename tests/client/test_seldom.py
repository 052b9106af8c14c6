"""Whoever sends messages cannot fill the site's disk with what is written down of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lone_site import LoneSite

from client.repeats import MOST as MOST_REPEATED
from client.seldom import MOST
from deploy.audit.examine import examine
from deploy.audit.keys import Signer
from shared.address import Stage
from shared.durable import never_waiting
from shared.errors import WireCode
from shared.heads import Head
from shared.keys import make_identity_key
from shared.ledger import read_entries, read_lines

TIMES = 2 * MOST_REPEATED


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.open()
    with never_waiting():
        yield lone
    lone.close()


def flood(site: LoneSite, *, number: int = 1) -> None:
    """A message with a head that the ledger never had, another one each time, and one that nobody signed."""
    heads = site.coordinator.held(Head(n=1000 + number, hash=f"{number:064x}"))
    place = site.coordinator.address(Stage.TRAIN, 1, attempt=number)
    site.tell(site.coordinator.work(1, heads=heads, address=place))
    site.answering.receive(site.coordinator.parcel(site.coordinator.open(), key=make_identity_key()))


def entries(site: LoneSite) -> int:
    return sum(1 for _ in read_entries(site.folder / "ledger.jsonl"))


def test_what_comes_again_and_again_is_counted_and_refused_each_time(site: LoneSite) -> None:
    before = entries(site)
    for number in range(1, TIMES + 1):
        flood(site, number=number)
    assert site.refused() == [WireCode.FOREIGN_HEAD] * TIMES
    assert entries(site) - before <= 2 * MOST + 1 + 2 * TIMES // MOST_REPEATED
    assert sum("thrown away" in line for line in site.said) == MOST
    site.pass_days(1)
    flood(site, number=TIMES + 1)
    for kind in ("head_refused", "message_discarded"):
        assert len(site.entries(kind)) == MOST + 1
        assert site.entries(kind)[-1]["more"] == TIMES - MOST
    site.site.egress.settle()
    key = site.site.egress._key.public_key()
    found = examine(read_lines(site.folder / "ledger.jsonl"), Signer(site.name, key, ""))
    assert (found.breaches.count, dict(found.unknown), found.studies["lungs"].refused) == (0, {}, TIMES + 1)


def test_an_agent_that_stops_says_how_many_came(site: LoneSite) -> None:
    for number in range(1, MOST + 4):
        flood(site, number=number)
    for _ in range(2):
        site.site.seldom.settle()
    said = site.entries("head_refused")
    assert (len(said), said[-1]["more"], said[-1]["entry"]) == (MOST + 1, 2, 1000 + MOST + 3)
