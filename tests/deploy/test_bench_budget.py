"""The budget benchmark: a short run of it, and what it would say of a site that forgets."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.budget import missed, run
from deploy.bench.budget_script import SCRIPT, open_purse, patient, play, study, touched
from deploy.provision import provision
from shared.ledger import read_entries

GOOD: dict[str, Any] = {
    "under_counted": 0,
    "refused_after_a_crash": 0,
    "restored_backup_refused": True,
    "over_budget_study_refused": True,
}


def test_no_kill_makes_a_patient_pay_too_little(tmp_path: Path) -> None:
    data = run(every=17, keep=tmp_path)
    assert list(missed(data)) == []
    assert data["kills"] > 5
    assert data["over_counted_steps"] > 0  # a round that was charged and never began
    assert data["backups_restored"] == len(SCRIPT) - 1


@pytest.mark.parametrize("broken", GOOD)
def test_each_promise_that_is_not_kept_is_named(broken: str) -> None:
    assert list(missed(GOOD)) == []
    assert len(list(missed(GOOD | {broken: not GOOD[broken]}))) == 1


def test_the_script_touches_whom_it_says(tmp_path: Path) -> None:
    site = provision(tmp_path, name="ward", host="127.0.0.1", fleet_port=9, sites=["north"], now=1).sites["north"]
    play(site)
    assert touched(site) == dict(zip(map(patient, range(1, 7)), (16, 12, 12, 4, 12, 8), strict=True))
    play(site)  # nothing is left to do
    types = Counter(entry.type for entry in read_entries(site / "ledger.jsonl"))
    assert [types[kind] for kind in ("budget_reconciled", "tail_lost", "claim_dismissed", "budget_returned")] == [
        1,
        1,
        1,
        4,
    ]
    assert open_purse(site)._in_step().budget.accounts["one"].last_round == 3
    assert study("one").privacy is not None
