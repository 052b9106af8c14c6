"""A journal that was begun by one coordinator and goes on under another: the short verifier holds both keys in turn."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from audited import SITE, STUDIES, VERIFIER, Handed

from deploy.audit.words import ANCHORED
from server.federation import load_federation
from shared.chain import HEAD, Tip
from shared.keys import identity_hex, make_identity_key
from shared.receipt import read_receipt

ANN, BEN = "ann", "ben"
LATER = make_identity_key()


def journal(handed: Handed, *signers: str) -> bytes:
    """The journal of the study that was closed last, its last heads signed by these and those before by ann."""
    keys = {ANN: load_federation(handed.federation).coordinator_key, BEN: LATER}
    entries = [json.loads(line) for line in handed.journals[-1].read_bytes().splitlines()]
    early = sum(entry["type"] == HEAD for entry in entries) - len(signers)
    assert early > 0
    turns, tip, lines = iter([ANN] * early + list(signers)), Tip(), []
    for entry in entries:
        if entry["type"] == HEAD:
            line = tip.head_line(key=keys[next(turns)], signer="coordinator", time=entry["time"])
        else:
            line = tip.next_line(entry["type"], entry["data"], time=entry["time"])
        lines.append(line + b"\n")
        _, tip = tip.follow(line)
    return b"".join(lines)


def told(handed: Handed, held: Path, *names: str) -> subprocess.CompletedProcess[str]:
    """What the verifier says of the site's ledger beside what is held, by the keys of these coordinators."""
    keys = {ANN: handed.public("coordinator_key"), BEN: identity_hex(LATER.public_key())}
    given = (handed.ledger, handed.public("identity_key"), SITE, held, *(keys[name] for name in names))
    words = [sys.executable, "-I", VERIFIER, *given]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("signers", "names", "holds"),
    [
        ((BEN,), (ANN, BEN), True),
        ((BEN, BEN), (ANN, BEN), True),
        ((BEN,), (ANN,), False),  # nobody named the second
        ((BEN,), (BEN, ANN), False),  # not in their turn
        ((BEN, ANN), (ANN, BEN), False),  # the first has given up the lead
    ],
)
def test_each_key_holds_in_its_turn_alone(
    handed: Handed, tmp_path: Path, signers: tuple[str, ...], names: tuple[str, ...], holds: bool
) -> None:
    held = tmp_path / "journal.jsonl"
    held.write_bytes(journal(handed, *signers))
    done = told(handed, held, *names)
    assert (done.returncode == 0, done.stdout.strip()) == (holds, ANCHORED if holds else "")
    assert holds or "its signature does not hold" in done.stderr


def test_receipts_of_both_are_held_against_both_keys(handed: Handed, tmp_path: Path) -> None:
    receipts = [read_receipt(line) for line in handed.receipts.read_bytes().splitlines()]
    assert {receipt.study for receipt in receipts} == set(STUDIES)
    by_ben = (one.signed(LATER) if one.study == STUDIES[-1] else one for one in receipts)
    held = tmp_path / "receipts.jsonl"
    held.write_bytes(b"".join(one.line() for one in by_ben))
    assert told(handed, held, ANN, BEN).returncode == 0
    assert told(handed, held, ANN).returncode != 0
