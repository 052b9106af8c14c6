"""A receipt that the coordinator signed anchors a ledger: whatever the site does behind its back is noticed."""

import io
import json
import random
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from audited import SITE, STUDIES, Handed
from damaged import WAYS, Lines, flip, told_by_ours
from live_federation import answer, wardround

from deploy.audit.anchors import Anchor, read_anchors
from deploy.audit.words import ANCHORED, OPEN_END, verdict
from shared.chain import Tip
from shared.errors import ConfigError, TrustError
from shared.keys import make_identity_key
from shared.receipt import read_receipt


@pytest.fixture(scope="module")
def closing(handed: Handed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The coordinator's receipt for the study that the site closed last."""
    into = tmp_path_factory.mktemp("receipts")
    said = answer("study", "receipts", STUDIES[-1], "-f", handed.federation, "--to", into)
    assert set(said["receipts"]) == {SITE, "south"}
    return Path(said["receipts"][SITE])


def independently(independent: ModuleType, handed: Handed, lines: Lines, receipts: Path) -> str:
    with receipts.open("rb") as stream:
        held = independent.receipted_heads(stream, [handed.public("coordinator_key")], SITE)
    said = independent.verdict(io.BytesIO(b"".join(lines)), handed.public("identity_key"), SITE, held)
    return re.sub(r"(broken at line \d+|unsigned):?.*", r"\1", said)


def test_a_ledger_and_its_receipt_are_anchored(handed: Handed, independent: ModuleType, closing: Path) -> None:
    said = answer("audit", "verify", handed.ledger, "--key", handed.card, "--head", closing)
    assert (said["verdict"], said["anchored"], said["consistent"]) == (ANCHORED, True, True)
    assert (said["anchored_entries"], said["anchors"][0]["entry"]) == (41, 41)
    assert said["anchors"][0]["source"] == "the receipt of chest"
    assert independently(independent, handed, handed.lines, closing) == ANCHORED


def test_the_receipts_that_the_site_kept_anchor_all_but_the_end(handed: Handed, independent: ModuleType) -> None:
    kept = [read_receipt(line) for line in handed.receipts.read_bytes().splitlines()]
    assert [(receipt.study, receipt.round) for receipt in kept[:2]] == [("lungs", 1), ("lungs", 2)]
    assert {receipt.outcome for receipt in kept} == {"counted"}
    said = answer("audit", "verify", handed.ledger, "--key", handed.card, "--head", handed.receipts)
    newest = max(receipt.head.n for receipt in kept if receipt.head)
    assert (said["verdict"], said["anchored_entries"]) == (OPEN_END, newest)
    assert said["behind_anchor"]["study_closed"] == 1
    assert independently(independent, handed, handed.lines, handed.receipts) == OPEN_END


@pytest.mark.parametrize("number", range(50), ids=lambda number: f"{number}-{WAYS[number].__name__}")
def test_each_of_fifty_is_caught_by_the_receipt_alone(
    handed: Handed, independent: ModuleType, closing: Path, number: int
) -> None:
    lines, at = WAYS[number](handed, random.Random(1000 + number))
    found = handed.examined(lines, read_anchors(str(closing), handed.signer))
    assert not found.end_anchored
    if found.broken:
        assert found.entries + 1 in ((at, at + 1) if WAYS[number] is flip else (at,))
    else:
        assert verdict(found).startswith(OPEN_END)
    assert told_by_ours(found) == independently(independent, handed, lines, closing)


def cut(handed: Handed, tmp_path: Path, lines: Lines, receipts: Path) -> dict[str, Any]:
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(lines))
    done = wardround("audit", "verify", tmp_path / "ledger.jsonl", "--key", handed.card, "--head", receipts, "--json")
    assert done.exit_code == 4
    return dict(json.loads(done.stdout))


def signed(handed: Handed, lines: Lines) -> Lines:
    tip = Tip()
    for line in lines:
        _, tip = tip.follow(line[:-1])
    return [*lines, tip.head_line(key=handed.key, signer=SITE, time="2026-01-02T03:04:05Z") + b"\n"]


def test_a_backup_and_a_rewritten_ledger_are_told_apart(handed: Handed, tmp_path: Path, closing: Path) -> None:
    rolled_back = cut(handed, tmp_path, signed(handed, handed.lines[:20]), closing)
    assert "it is entry 41, and the ledger ends at 21; its end was cut off" in rolled_back["error"]["what"]
    assert rolled_back["data"]["first_missing_entry"] == 41
    anew = handed.written_anew(lambda entry: entry | {"time": "2026-01-02T03:04:05Z"})
    said = cut(handed, tmp_path, anew, closing)
    assert "entry 41 is another one; the ledger was written anew there or before" in said["error"]["what"]


def test_receipts_that_the_coordinator_did_not_sign_are_refused(
    handed: Handed, independent: ModuleType, tmp_path: Path, closing: Path
) -> None:
    forged = tmp_path / "forged.jsonl"
    forged.write_bytes(closing.read_bytes() + read_receipt(closing.read_bytes()).signed(make_identity_key()).line())
    with pytest.raises(TrustError, match="Line 2 of forged"):
        read_anchors(str(forged), handed.signer)
    with pytest.raises(ValueError, match="signature does not hold"):
        independently(independent, handed, handed.lines, forged)


def test_receipts_of_another_site_anchor_nothing(handed: Handed, closing: Path) -> None:
    with pytest.raises(ConfigError, match="holds no head of north"):
        read_anchors(str(closing.with_name("south-chest-receipt.jsonl")), handed.signer)


def test_an_anchor_of_a_closing_receipt_is_that_of_the_journal(handed: Handed, closing: Path) -> None:
    [found] = read_anchors(str(closing), handed.signer)
    [journals] = read_anchors(str(handed.journals[-1]), handed.signer)
    assert (found.head, found.study) == (journals.head, journals.study)
    assert found == Anchor(found.head, "the receipt of chest", "chest", 41)
