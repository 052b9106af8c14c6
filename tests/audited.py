"""Ledgers of a real federation in this process, two studies long, as an auditor receives them."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tiny_federation
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.supercore.task_identity import TaskIdentity
from memory_ward import MemoryWard

from client.evidence import export_ledger
from deploy.audit.anchors import Anchor, read_anchors
from deploy.audit.examine import Findings, examine
from deploy.audit.keys import Signer, read_signer
from shared.chain import HEAD, Tip
from shared.keys import load_identity_key

VERIFIER = Path(__file__).parents[1] / "docs" / "verify_ledger.py"
SITE, STUDIES = "north", ("lungs", "chest")
KEPT = "chest"  # the study whose updates are kept


@dataclass(frozen=True)
class Handed:
    """What lies on the auditor's table, and for the forgers among the tests, the site's private key.

    `journals` are those of `STUDIES`, in the order in which the site closed them.
    """

    ledger: Path
    card: Path
    receipts: Path
    journals: tuple[Path, ...]
    federation: Path
    site: Path
    key: Ed25519PrivateKey

    @property
    def lines(self) -> list[bytes]:
        return self.ledger.read_bytes().splitlines(keepends=True)

    @cached_property
    def signer(self) -> Signer:
        return read_signer(str(self.card), None)

    @cached_property
    def anchors(self) -> list[Anchor]:
        return [anchor for journal in self.journals for anchor in read_anchors(str(journal), self.signer)]

    def examined(self, lines: list[bytes], anchors: list[Anchor] | None = None) -> Findings:
        return examine(lines, self.signer, self.anchors if anchors is None else anchors)

    def public(self, name: str) -> str:
        """A key of the card, in hex."""
        return str(json.loads(self.card.read_bytes())[name])

    def written_anew(self, change: Callable[[dict[str, Any]], dict[str, Any]]) -> list[bytes]:
        """The ledger with entries changed, chained and signed again with the right key."""
        tip, lines = Tip(), []
        for old in map(json.loads, self.lines):
            entry = change(old)
            if entry["type"] == HEAD:
                line = tip.head_line(key=self.key, signer=SITE, time=entry["time"])
            else:
                line = tip.next_line(entry["type"], entry["data"], time=entry["time"])
            lines.append(line + b"\n")
            _, tip = tip.follow(line)
        return lines


def hand_over(root: Path) -> Handed:
    """Run the studies under an empty folder, and export a site's ledger."""
    with pytest.MonkeyPatch.context() as patch:  # as the fixture `flower_process`, for as long as the studies run
        for name, number in {"_task_id": 1, "_run_id": 1, "_node_id": 0}.items():
            patch.setattr(TaskIdentity, name, number)
        ward = MemoryWard(root / "ward", tiny_federation.images(root, [SITE, "south"]))
        for name in STUDIES:
            text = tiny_federation.study_text(name, rounds=2, sites=2)
            ward.run(text.replace("[rounds]", "[rounds]\nkeep_updates = true") if name == KEPT else text)
    ledger, card, receipts, _ = export_ledger(ward.sites[SITE], root / "export").files
    journals = tuple(ward.federation / "studies" / name / "journal.jsonl" for name in STUDIES)
    key = load_identity_key(ward.sites[SITE] / "keys" / "identity.pem")
    return Handed(ledger, card, receipts, journals, ward.federation, ward.sites[SITE], key)


def independent_verifier() -> ModuleType:
    """docs/verify_ledger.py as a module."""
    spec = spec_from_file_location("verify_ledger", VERIFIER)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
