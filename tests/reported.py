"""What the tests of the audit's page share: its dossier, its claims, a ledger that goes on, and the command."""

import json
from typing import Any

from audited import Handed
from typer.testing import CliRunner

from deploy.audit.report.claims import claims
from deploy.audit.report.dossier import Dossier, compile_dossier
from deploy.cli import app
from shared.chain import HEAD, Tip

MADE = "2026-01-02T03:04:05Z"


def dossier_of(handed: Handed, lines: list[bytes], *, anchored: bool = True) -> Dossier:
    anchors = handed.anchors if anchored else []
    return compile_dossier(lambda: lines, handed.signer, anchors, file="north-ledger.jsonl", made=MADE)


def standing(dossier: Dossier, words: str) -> list[str]:
    return [claim.standing for claim in claims(dossier) if words in claim.text]


def goes_on(handed: Handed, *entries: tuple[str, dict[str, Any]]) -> list[bytes]:
    """The ledger with further entries behind it, signed with the right key."""
    lines, tip = handed.lines, Tip()
    for line in lines:
        _, tip = tip.follow(line[:-1])
    for kind, data in (*entries, (HEAD, {})):
        signed = kind == HEAD
        line = (
            tip.head_line(key=handed.key, signer="north", time=MADE) if signed else tip.next_line(kind, data, time=MADE)
        )
        _, tip = tip.follow(line)
        lines.append(line + b"\n")
    return lines


def said(*words: object) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(app, ["audit", "report", *map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout)
