"""Heads that somebody else holds: what a ledger's end is held against.

A ledger alone cannot show that its end was not cut off, or all of it written anew with the right key. A head
that lies with another party can. It is given as

1. a study's journal, whose `site_closed` entry holds the head that the site named when it put the study away;
   it counts only where the coordinator's signature covers it;
2. receipts, one a line, which the coordinator signed to the site; each names a head and its place;
3. a text file, a head a line: 64 hex digits, a space, and who holds it; `#` begins a remark;
4. the 64 hex digits themselves, and after a colon who holds it.

That receipts are the site's own makes them no less good: it cannot make one. They show nothing if it keeps the
newest to itself, so an auditor asks the coordinator, too.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from deploy.audit.keys import Signer
from deploy.audit.reading import sound_entries
from shared.chain import HEAD
from shared.errors import ConfigError, TrustError
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
from shared.ledger import read_lines
from shared.receipt import read_receipt

_TYPED = re.compile(r"([0-9a-fA-F]{64})(?:[:\s]\s*(.*))?", re.DOTALL)
_LARGEST_LIST = 1 << 20  # bytes
_RECEIPT = b'{"head":'  # how canonical JSON of a receipt begins; a journal's begins with its data
_NOBODY = "somebody who was not named"


@dataclass(frozen=True)
class Anchor:
    """A ledger's head as another party holds it.

    Attributes:
        head: SHA-256 (hex) of the entry.
        source: who holds it.
        study: the study that the site put away with it; None if that is not known.
        entry: its place in the ledger, from 1, where the holder knows it.
    """

    head: str
    source: str
    study: str | None = None
    entry: int | None = None


def read_anchors(given: str, signer: Signer) -> list[Anchor]:
    """The anchors that one argument gives, in the forms above.

    Args:
        given: a file, or the head itself.
        signer: whose heads are looked for; a journal is held against the coordinator's key that it knows.

    Raises:
        ConfigError: there is no such file, it holds no head of the signer, or no coordinator's key is known.
        TrustError: the journal is broken, or nobody signed the head in it; or a line is no head.
    """
    if typed := _TYPED.fullmatch(given):
        return [Anchor(typed[1].lower(), typed[2] or _NOBODY)]
    path = Path(given)
    if path.exists() and not path.is_file():
        raise ConfigError(
            f"{given} is no file.", remedy="Name the journal, the receipts or the list itself, not a pipe."
        )
    try:
        with path.open("rb") as file:
            start = file.read(_LARGEST_LIST)
        if start.startswith(_RECEIPT):
            found = _of_receipts(path, signer)
        else:
            found = _of_journal(path, signer) if start.startswith(b"{") else _of_list(start, path.name)
    except OSError as error:
        raise ConfigError(
            f"There is no anchor to read at {given} ({error.strerror}).",
            remedy="Name a study's journal.jsonl, receipts, a list of heads, or the 64 hex digits of one.",
        ) from None
    if not found:
        raise ConfigError(
            f"{path.name} holds no head of {signer.name}.",
            remedy="Name the journal of a study that the site closed, or receipts that are the site's.",
        )
    return found


def _of_list(data: bytes, name: str) -> list[Anchor]:
    lines = [line.partition("#")[0].strip() for line in data.decode("utf-8", "replace").splitlines()]
    typed = [_TYPED.fullmatch(line) for line in lines if line]
    if None in typed:
        raise TrustError(f"{name} is neither a journal nor a list of heads.", remedy="Look at what was handed over.")
    return [Anchor(one[1].lower(), one[2] or f"the list {name}") for one in typed if one]


def _of_receipts(path: Path, signer: Signer) -> list[Anchor]:
    key, anchors = _coordinator(path, signer), []
    for number, line in enumerate(read_lines(path), 1):
        receipt = read_receipt(line)
        if not receipt.holds(key):
            raise TrustError(
                f"Line {number} of {path.name} is a receipt that the coordinator did not sign.",
                remedy="Ask for the receipts again, and compare the coordinator's fingerprint.",
            )
        if receipt.site == signer.name and (head := receipt.head) is not None:
            closing = receipt.study if receipt.outcome == "closed" else None
            source = f"the receipt of {f'round {receipt.round} of ' if closing is None else ''}{receipt.study}"
            anchors.append(Anchor(head.hash, source, closing, head.n))
    return list({anchor.head: anchor for anchor in anchors}.values())


def _coordinator(path: Path, signer: Signer) -> VerifyKey:
    if signer.coordinator is None:
        raise ConfigError(
            f"{path.name} is the coordinator's word, whose key is not known.",
            remedy="Name it with --coordinator, or give --key a key card or roster.",
        )
    return signer.coordinator


def _of_journal(path: Path, signer: Signer) -> list[Anchor]:
    study, anchors = "?", []
    waiting: list[tuple[str, int | None]] = []
    for entry in sound_entries(path, _coordinator(path, signer), COORDINATOR):
        if entry.type == "study_started":
            study = str(entry.data.get("study"))
        elif entry.type == "site_closed" and entry.data.get("site") == signer.name:
            n = entry.data.get("n")
            waiting.append((str(entry.data.get("head")), n if type(n) is int else None))
        elif entry.type == HEAD:
            anchors += [Anchor(head, f"the journal of {study}", study, n) for head, n in waiting]
            waiting.clear()
    if waiting:
        raise TrustError(
            f"The head of {signer.name} in {path.name} stands behind the coordinator's last signature.",
            remedy="Ask the coordinator for the journal as it is now.",
        )
    return anchors
