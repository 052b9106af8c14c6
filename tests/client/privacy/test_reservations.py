"""What a study holds and the ledger proves unused can be given back, whatever happened before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lone_site import START, LoneSite
from private_site import ONE, kept, open_study, private, private_site, reconciled, train

from client.privacy.reservations import give_back
from shared.canonical import digest


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    yield from private_site(tmp_path)


def given_back(site: LoneSite) -> int:
    site.site.ledger.close()
    return give_back(site.folder, "lungs", by="ada", now="2026-01-02T03:04:05Z")


def test_rounds_that_a_reconciling_charged_have_begun(site: LoneSite) -> None:
    train(site, 3, counted=2)
    reconciled(site)  # charges 1 and 2
    open_study(site, private(rounds=5), ONE)
    train(site, 3)
    assert (given_back(site), kept(site).budget.accounts["lungs"].charged) == (2, 3)


def test_a_round_whose_entry_a_crash_took_has_begun(site: LoneSite) -> None:
    train(site, 1)
    ledger = site.folder / "ledger.jsonl"
    before = ledger.read_bytes()
    site.tell(site.coordinator.work(2, previous_digest=digest(START)))
    ledger.write_bytes(before)  # as if only the budget had been written
    site.start()
    open_study(site, private(rounds=5), ONE)
    train(site, 3)
    assert (given_back(site), kept(site).budget.accounts["lungs"].charged) == (2, 3)


def test_rounds_that_passed_without_the_site_are_not_reserved_any_more(site: LoneSite) -> None:
    train(site, 3)
    account = kept(site).budget.accounts["lungs"]
    assert (account.reserved, account.charged) == (2, 1)
    assert given_back(site) == 2
