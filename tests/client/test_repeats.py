"""A site that waits says so again and again, and its ledger says how often without growing by the minute."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_federation import answer, wardround
from lone_site import LoneSite

from client.repeats import MOST
from deploy.audit.books import CoordinatorBook, Counted, Left, SiteBook
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import Signer
from deploy.audit.reconcile import reconcile
from deploy.audit.releases import Releases
from shared.address import Stage
from shared.ledger import read_entries, read_lines

TIMES = MOST + 10


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    lone.set_policy(studies="ask")
    yield lone
    lone.close()


def ask(site: LoneSite, times: int) -> None:
    for attempt in range(1, times + 1):
        site.tell(site.coordinator.open(attempt=attempt))


def examined(site: LoneSite) -> Findings:
    key = site.site.egress._key.public_key()
    return examine(read_lines(site.folder / "ledger.jsonl"), Signer(site.name, key, ""))


def test_a_run_of_not_yet_is_written_down_before_it_leaves_and_adds_up(site: LoneSite) -> None:
    ask(site, TIMES)
    assert len(site.refused()) == TIMES
    kinds = [entry.type for entry in read_entries(site.folder / "ledger.jsonl")]
    assert kinds == ["release", "release_again", "release_repeated", "release_again"]
    flags = ("--by", "Dr. Who", "--yes", "--contract", site.waiting())
    answer("site", "approve", "lungs", "--config", site.folder / "site.toml", *flags)
    site.open()
    assert [said["count"] for said in site.entries("release_repeated")] == [MOST, TIMES - 1 - MOST]
    left = sum(said["bytes"] for kind in ("release", "release_repeated") for said in site.entries(kind))
    assert left > TIMES * 100
    account = examined(site).studies["lungs"]
    assert (account.refused, account.releases, account.bytes) == (TIMES, TIMES + 1, left)
    assert (examined(site).breaches.count, dict(examined(site).unknown)) == (0, {})
    assert examined(site).remarks.count == 0  # to wait is nothing that anybody need be asked about
    sent = answer("site", "sent", "--config", site.folder / "site.toml")
    assert (sent["count"], sent["bytes"]) == (account.releases, account.bytes)
    shown = wardround("site", "sent", "--config", site.folder / "site.toml").stdout
    assert f"{TIMES - 1 - MOST} times not yet:" in " ".join(shown.split())


def test_another_round_and_another_study_have_runs_of_their_own(site: LoneSite) -> None:
    ask(site, 3)
    place = site.coordinator.address(Stage.OPEN, 1)
    site.tell(site.coordinator.open().model_copy(update={"address": place}))
    assert [(said["round"], said["count"]) for said in site.entries("release_repeated")] == [(0, 2)]
    assert [said["round"] for said in site.entries("release")] == [0, 1]


def test_an_agent_that_stops_says_how_many_left_and_one_that_crashes_how_many_at_most(site: LoneSite) -> None:
    ask(site, 3)
    site.site.egress.settle()
    site.site.egress.settle()
    assert [said["count"] for said in site.entries("release_repeated")] == [2]
    ask(site, 2)
    site.start()  # nobody settled
    ask(site, 1)
    kinds = [entry.type for entry in read_entries(site.folder / "ledger.jsonl")]
    assert kinds[-2:] == ["release_again", "release"]


@pytest.mark.parametrize(
    ("count", "size", "fault"),
    [(5, 500, None), (6, 600, "were announced"), (5, 0, "cannot be"), (5, 10**9, "cannot be"), (True, 5, "number")],
)
def test_more_answers_than_were_announced_are_a_breach(
    site: LoneSite, count: int, size: int, fault: str | None
) -> None:
    place = {"study": "lungs", "round": 0, "stage": "open", "refusal": "awaits_approval", "rule": "studies"}
    site.site.ledger.append("release_again", place | {"most": 5}, time=site.site.now())
    site.site.ledger.append("release_repeated", place | {"count": count, "bytes": size}, time=site.site.now())
    releases = Releases()
    found = [releases.follow(entry) for entry in read_entries(site.folder / "ledger.jsonl")]
    assert found[0] is None
    assert found[1] is None if fault is None else fault in str(found[1])


@pytest.mark.parametrize(("each", "fits"), [(1_600, True), (10_000, False)], ids=["flower", "hidden"])
def test_a_waiting_site_has_no_room_to_hide_bytes_in_its_answers(each: int, fits: bool) -> None:
    released = [Left(2, 174, 0, 1), Left(9, 59 * 174, 0, 59)]
    ledger = SiteBook("north", released=released, traffic=[Counted(10, 0, 60 * (174 + each))])
    found = reconcile(CoordinatorBook("lungs"), [ledger]).discrepancies
    assert [one.code for one in found] == ([] if fits else ["traffic"])
