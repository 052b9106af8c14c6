"""Sites that say "not yet": the study goes on without them, or waits, and takes them in when they agree."""

from pathlib import Path
from typing import Any

from scripted_ward import SITES, Reply, Ward, trained

from server.narration import told
from server.records import SiteHeld, SiteOpened
from shared.errors import WireCode
from shared.wire import Open, Refused, Work

NOT_YET = WireCode.AWAITS_APPROVAL


class Hesitant:
    """A script in which one site says "not yet" so many times."""

    def __init__(self, times: int | None) -> None:
        self._left = times

    def __call__(self, site: str, message: Any) -> Reply:
        if site == "north" and isinstance(message, Open) and self._left != 0:
            self._left = None if self._left is None else self._left - 1
            return Refused(address=message.address, refusal=NOT_YET, rule="studies")
        return trained(site, message) if isinstance(message, Work) and message.address.stage == "train" else None


def test_a_study_waits_for_a_site_that_its_quorum_needs(tmp_path: Path) -> None:
    run = Ward(tmp_path).run(Hesitant(2), rounds={"count": 1, "quorum": 3})
    assert [commit.counted for commit in run.history.commits] == [SITES]
    held = [record for record in run.records() if isinstance(record, SiteHeld)]
    assert [(said.site, said.code) for said in held] == [("north", NOT_YET)]  # once, though it was asked three times
    assert told(held[0]) == "north says not yet: It waits for a person at the site to approve the study."
    assert not run.history.held


def test_a_quorum_goes_on_without_it(tmp_path: Path) -> None:
    run = Ward(tmp_path).run(Hesitant(None), rounds={"count": 3, "quorum": 2})
    assert [commit.counted for commit in run.history.commits] == [("east", "south")] * 3
    assert [commit.absent for commit in run.history.commits] == [{"north": NOT_YET.value}] * 3
    assert sum(isinstance(record, SiteHeld) for record in run.records()) == 1
    assert run.history.held["north"].code is NOT_YET and not run.works("north")


def test_whoever_agrees_later_is_taken_into_the_round_that_is_open_then(tmp_path: Path) -> None:
    run = Ward(tmp_path).run(Hesitant(1), rounds={"count": 2, "quorum": 2})
    assert [type(record) for record in run.records() if getattr(record, "site", "") == "north"][:2] == [
        SiteHeld,
        SiteOpened,
    ]
    assert [commit.counted for commit in run.history.commits] == [SITES] * 2


class RunOut:
    """A script in which one site's contract has ended when the second round begins, until it opens the study anew."""

    def __init__(self) -> None:
        self.holds = True

    def __call__(self, site: str, message: Any) -> Reply:
        if site == "north" and isinstance(message, Open):
            self.holds = True
        if not isinstance(message, Work) or message.address.stage != "train":
            return None
        if (site, message.address.round, message.address.attempt) == ("north", 2, 1):
            self.holds = False
        expired = Refused(address=message.address, refusal=WireCode.CONTRACT_EXPIRED)
        return trained(site, message) if site != "north" or self.holds else expired


def test_a_contract_that_ran_out_is_renewed_within_the_round(tmp_path: Path) -> None:
    run = Ward(tmp_path).run(RunOut(), rounds={"count": 3, "quorum": 3})
    assert [commit.counted for commit in run.history.commits] == [SITES] * 3
    assert sum(isinstance(record, SiteOpened) and record.site == "north" for record in run.records()) == 2
