"""An auditor recomputes what private studies cost, and finds what left them without a charge."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audited import Handed
from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
from dp_accounting.rdp import RdpAccountant
from live_federation import answer, wardround
from lone_site import LoneSite, a_study

from deploy.audit.budget_words import budget_data, budget_failure
from deploy.audit.spending import SILENT, Spent, spent
from shared.chain import Entry, Tip
from shared.errors import ConfigError, TrustError
from shared.keys import make_identity_key
from shared.ledger import Ledger

NOW = "2026-01-02T03:04:05Z"
STUDY = {"study": "lungs", "study_digest": "0" * 64}
ROUND = {"noise_multiplier": 1.0, "sampling_rate": 0.1, "images_per_patient": 4, "steps": 10}
LIFETIME = {"lifetime_epsilon": 50.0, "lifetime_delta": 1e-5}


def entries(*said: tuple[str, dict[str, Any]]) -> Iterator[Entry]:
    tip = Tip()
    for kind, data in said:
        entry, tip = tip.follow(tip.next_line(kind, data, time=NOW))
        yield entry


def reserved(rounds: int) -> tuple[str, dict[str, Any]]:
    return "budget_reserved", STUDY | ROUND | LIFETIME | {"rounds": rounds}


def charged(number: int, **changes: Any) -> tuple[str, dict[str, Any]]:
    return "privacy_spent", STUDY | ROUND | LIFETIME | {"round": number} | changes


def left(number: int, update: str | None = None, **changes: Any) -> tuple[str, dict[str, Any]]:
    said = {"study": "lungs", "round": number, "kind": "ready", "update_digest": update, "tells": []}
    return "release", said | changes


def fields(found: Spent) -> list[tuple[int, str]]:
    return [(one.round, one.field) for one in found.uncovered]


def test_the_epsilon_is_dp_accountings_of_the_history() -> None:
    said = (reserved(3), charged(1), charged(2, noise_multiplier=2.0), charged(3))
    data = budget_data(spent(entries(*said)), delta=None)
    accountant = RdpAccountant()
    for run in data["history"]:
        event = PoissonSampledDpEvent(run["sampling_rate"], GaussianDpEvent(run["noise_multiplier"]))
        accountant.compose(event, run["steps"])
    assert data["epsilon"] == pytest.approx(accountant.get_epsilon(1e-5), rel=0.01)
    assert (data["delta"], sorted(run["steps"] for run in data["history"])) == (1e-5, [10, 20])
    assert budget_failure(data) is None


def test_each_update_takes_up_a_charge_of_its_own() -> None:
    once = (charged(1), left(1, "a"), left(1, "a"), charged(2), left(3, "b"))  # sent again; and late
    assert fields(spent(entries(*once))) == []
    assert fields(spent(entries(*once, left(3, "c")))) == [(3, "update")]
    assert fields(spent(entries(charged(2), left(1, "a")))) == [(1, "update")]  # of a later round


@pytest.mark.parametrize("told", ["counts", "scores.test", "seconds"])
def test_whatever_else_left_is_uncovered(told: str) -> None:
    found = spent(entries(charged(1), left(1, "a", tells=[told])))
    assert fields(found) == [(1, told)]
    data = budget_data(found, delta=None)
    assert {one["field"]: one["charge"] for one in data["studies"][0]["fields"]}[told] == "none"
    error = budget_failure(data)
    assert error is not None
    assert told in error.what


def test_an_entry_that_does_not_say_is_uncovered() -> None:
    kind, said = left(1, "a")
    del said["tells"]
    assert fields(spent(entries(charged(1), (kind, said)))) == [(1, SILENT)]


def test_a_site_that_charged_too_little_is_found_out() -> None:
    found = spent(entries(charged(1, lifetime_epsilon=0.1)))
    assert found.understated() == ["lungs"]
    assert budget_failure(budget_data(found, delta=None)) is not None


def agreed(*leaves: str, private: bool = True) -> tuple[str, dict[str, Any]]:
    return "contract", STUDY | {"contract": "c" * 64, "private": private, "leaves": list(leaves)}


def test_rounds_that_were_charged_by_reconciling_are_in_the_history() -> None:
    beyond = STUDY | ROUND | {"rounds": 3, "last_round": 4}
    why = {"by": "ada", "why": "restored", "rounds": 4, "charged": [beyond], "budget_mark": "0" * 32}
    data = budget_data(spent(entries(charged(1), ("budget_reconciled", why | LIFETIME))), delta=None)
    assert [run["steps"] for run in data["history"]] == [40]
    assert (data["studies"][0]["charged"], budget_failure(data)) == (4, None)
    low = budget_data(spent(entries(charged(1), ("budget_reconciled", why | {"lifetime_epsilon": 0.1}))), delta=None)
    assert low["understated"] == ["lungs"]


def test_a_spooled_update_is_covered_by_a_charge_of_reconciling() -> None:
    """Its round's own charge was lost with the ledger's end; so was that of a second one, and of no third."""
    beyond = STUDY | ROUND | {"rounds": 2, "last_round": 4}
    reconciled = "budget_reconciled", LIFETIME | {"by": "ada", "why": "restored", "charged": [beyond]}
    covered = (charged(1), left(1, "a"), reconciled, left(4, "d"), left(3, "c"), charged(5), left(5, "e"))
    assert fields(spent(entries(*covered))) == []
    assert fields(spent(entries(*covered, left(4, "f")))) == [(4, "update")]
    assert fields(spent(entries(reconciled, left(2, "b")))) == [(2, "update")]  # of an earlier round
    assert fields(spent(entries(left(4, "d"), reconciled))) == [(4, "update")]  # before anybody called it private


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("noise_multiplier", value) for value in (0, -1.0, 1e300, "1", None, True)),
        *(("sampling_rate", value) for value in (0, 1.5, "0.1")),
        *(("steps", value) for value in (-10, 1.5, "3", 2**53 - 1, [])),
        *(("lifetime_epsilon", value) for value in (-1, "1", {})),
        *(("lifetime_delta", value) for value in (0, 2, "x")),
        *(("study", value) for value in (None, 3, {})),
        ("round", "1"),
    ],
)
def test_a_charge_in_another_form_is_named(name: str, value: object) -> None:
    """A site holds its own key: a negative number would take back what was spent."""
    with pytest.raises(TrustError, match=r"Entry 2 .*privacy_spent"):
        spent(entries(reserved(2), charged(1, **{name: value})))


@pytest.mark.parametrize("rounds", [-5, 2**50, "2", None])
def test_rounds_charged_by_reconciling_in_another_form_are_named(rounds: object) -> None:
    beyond = STUDY | ROUND | {"rounds": rounds, "last_round": 4}
    with pytest.raises(TrustError, match="budget_reconciled"):
        spent(entries(("budget_reconciled", LIFETIME | {"by": "ada", "why": "restored", "charged": [beyond]})))


def test_a_private_study_of_which_nothing_was_charged_at_all_is_uncovered() -> None:
    found = spent(entries(agreed("update"), left(1, "a")))
    assert (fields(found), dict(found.others)) == ([(1, "update")], {})
    data = budget_data(found, delta=None)
    assert (data["not_private"], data["studies"][0]["fields"][0]["charge"]) == ({}, "none")
    error = budget_failure(data)
    assert error is not None and "update" in error.what


def test_each_field_of_a_private_contract_needs_a_charge() -> None:
    assert fields(spent(entries(agreed("update"), charged(1), left(1, "a")))) == []
    found = spent(entries(agreed("update", "scores.test", "blood_pressure"), charged(1), left(1, "a")))
    assert fields(found) == [(0, "blood_pressure"), (0, "scores.test")]
    listed = {one["field"]: one["charge"] for one in budget_data(found, delta=None)["studies"][0]["fields"]}
    assert listed["scores.test"] == listed["blood_pressure"] == "none, and it may leave"
    assert (listed["counts"], listed["update"][:8]) == ("may not leave", "1 rounds")
    assert fields(spent(entries(agreed("update", "counts", private=False), left(1, "a", tells=["counts"])))) == []


def test_what_is_not_private_has_no_epsilon() -> None:
    found = spent(entries(left(1, "a", tells=["counts"])))
    data = budget_data(found, delta=None)
    assert (data["epsilon"], data["not_private"], data["uncovered"]) == (0, {"lungs": 1}, [])


def test_a_refusal_before_there_was_a_contract_is_called_that_and_no_release_without_epsilon() -> None:
    no = {"kind": "refused", "contract": None, "update_digest": None, "tells": []}
    waits = ("release", {"study": "lungs", "round": 0, **no})
    again = ("release_repeated", {"study": "lungs", "round": 0, "count": 5, "bytes": 845})
    found = spent(entries(waits, again, agreed("update"), charged(1), left(1, "a")))
    data = budget_data(found, delta=None)
    assert (data["not_private"], data["refused_without_contract"], data["uncovered"]) == ({}, {"lungs": 6}, [])
    telling = spent(entries(("release", {"study": "lungs", "round": 0, **no, "tells": ["counts"]})))
    assert (dict(telling.others), dict(telling.refusals)) == ({"lungs": 1}, {})


@pytest.mark.parametrize("text", [b"", b"[" * 10_000, b"{}", b'{"a":NaN}\n'])
def test_what_is_no_ledger_has_no_budget_and_no_anchors(tmp_path: Path, text: bytes) -> None:
    """An empty file, or one that ends in the midst of its first line, spent nothing, and shows nothing either."""
    (tmp_path / "ledger.jsonl").write_bytes(text)
    for command in ("budget", "anchors"):
        done = wardround("audit", command, tmp_path / "ledger.jsonl", "--json")
        assert done.exit_code == TrustError.exit_code
        assert "ledger.jsonl is broken at line 1" in json.loads(done.stdout)["error"]["what"]


@pytest.mark.parametrize("command", ["budget", "anchors"])
def test_with_the_key_signatures_are_held_and_without_it_that_is_said(
    handed: Handed, tmp_path: Path, command: str
) -> None:
    said, shown = answer("audit", command, handed.ledger), wardround("audit", command, handed.ledger).stdout
    assert not said["signatures_checked"] and "no signature" in " ".join(shown.split())
    (tmp_path / "grown.jsonl").write_bytes(handed.ledger.read_bytes() + _behind(handed))
    words = ("audit", command, tmp_path / "grown.jsonl", "--key", handed.card)
    said, shown = answer(*words), " ".join(wardround(*words).stdout.split())
    assert (said["signatures_checked"], said["behind_signature"]) == (True, 1)
    assert said["fingerprint"] == handed.signer.fingerprint
    assert "the key of north" in shown and "behind the last signature, which anybody can add: 1." in shown
    assert max(map(len, wardround(*words).stdout.splitlines())) <= 80


@pytest.mark.parametrize("command", ["budget", "anchors"])
def test_a_ledger_that_somebody_else_made_passes_without_a_key_alone(
    handed: Handed, tmp_path: Path, command: str
) -> None:
    """Anybody can chain entries, and sign heads with a key of their own."""
    made = replace(handed, key=make_identity_key()).written_anew(dict)
    unsigned = handed.lines[:3]
    for lines in (made, unsigned):
        (tmp_path / "made.jsonl").write_bytes(b"".join(lines))
        words = ("audit", command, tmp_path / "made.jsonl")
        assert wardround(*words).exit_code == 0
        assert wardround(*words, "--key", handed.card).exit_code == TrustError.exit_code
    assert wardround(*words, "--signer", "north").exit_code == ConfigError.exit_code


def test_without_a_private_study_there_is_no_epsilon_to_read(handed: Handed) -> None:
    shown = wardround("audit", "budget", handed.ledger).stdout
    assert "no study in this ledger is private" in shown
    assert "at delta" not in shown


def test_what_the_auditor_types_and_reads(tmp_path: Path) -> None:
    site = LoneSite(tmp_path, study=a_study())
    for kind, said in (reserved(3), charged(1), left(1, "a")):
        site.site.ledger.append(kind, said, time=NOW)
    ledger = site.folder / "ledger.jsonl"
    assert answer("audit", "budget", ledger)["uncovered"] == []
    shown = wardround("audit", "budget", ledger).stdout
    assert "every number that left a private study was charged" in shown
    assert max(map(len, shown.splitlines())) <= 80
    _add(site.site.ledger, *left(2, "b"))
    done = wardround("audit", "budget", ledger, "--json")
    assert done.exit_code == 4
    assert [one["field"] for one in json.loads(done.stdout)["data"]["uncovered"]] == ["update"]
    _add(site.site.ledger, "privacy_spent", {"study": "lungs"})
    done = wardround("audit", "budget", ledger, "--json")
    assert done.exit_code == 4
    assert "(privacy_spent) is not in its form" in json.loads(done.stdout)["error"]["what"]
    site.close()


def _behind(handed: Handed) -> bytes:
    """An entry that follows from the ledger's last, by nobody in particular."""
    tip = Tip(len(handed.lines), handed.examined(handed.lines).head)
    return tip.next_line("worker_restarted", {"during": "idle"}, time=NOW) + b"\n"


def _add(ledger: Ledger, kind: str, said: dict[str, Any]) -> None:
    ledger.append(kind, said, time=NOW)
