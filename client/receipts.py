"""The receipts that a site keeps beside its ledger: what the coordinator has signed about its work.

One receipt a line in `receipts.jsonl`, each on the disk before it counts. The newest name heads of this site's
ledger: a ledger that has fewer entries, or others there, was rolled back or cut, whatever it says
of itself. The file keeps the newest; what it drops, later receipts vouch for.
"""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from shared.canonical import digest
from shared.durable import wait_for_disk, write_atomically
from shared.errors import TrustError
from shared.heads import Head
from shared.ledger import read_whole_lines
from shared.receipt import LONGEST, Receipt, read_receipt

LEDGER_FILE, RECEIPTS_FILE = "ledger.jsonl", "receipts.jsonl"
MOST_BYTES = 8 << 20  # of the file; beyond that its older half goes
_RECENT_BYTES = 16 * LONGEST  # where the newest receipts stand


def keep_receipts(folder: Path, receipts: Iterable[Receipt]) -> None:
    """Add those receipts that are not among the newest in a site's folder.

    Raises:
        OSError: the disk refused; what was there is as it was.
    """
    path = folder / RECEIPTS_FILE
    before = {_gist(receipt) for receipt in recent_receipts(folder)}
    new = b"".join(receipt.line() for receipt in receipts if _gist(receipt) not in before)
    if not new:
        return
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        whole = file.read()
        end = whole.rfind(b"\n") + 1  # a crash may have torn off the last line
        file.seek(end)
        file.write(new)
        file.truncate()
        file.flush()
        wait_for_disk(file.fileno())
    if end + len(new) > MOST_BYTES:
        _halve(path, whole[:end] + new)


def recent_receipts(folder: Path) -> list[Receipt]:
    """The newest receipts in a site's folder, oldest first; a damaged line counts as none."""
    try:
        with (folder / RECEIPTS_FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _RECENT_BYTES))
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [receipt for line in lines if (receipt := _read(line)) is not None]


def entries_among(ledger: Path, heads: Collection[Head]) -> set[Head]:
    """Which of these heads are entries of a ledger file, or of none; nothing of it is parsed."""
    places = {head.n for head in heads}
    lines = enumerate(read_whole_lines(ledger), 1) if places and ledger.exists() else ()
    found = {Head(n=n, hash=digest(line.removesuffix(b"\n"))) for n, line in lines if n in places}
    return found.intersection(heads)


def _read(line: bytes) -> Receipt | None:
    try:
        return read_receipt(line) if line.endswith(b"\n") else None
    except TrustError:
        return None


def _gist(receipt: Receipt) -> tuple[object, ...]:
    """What two receipts that tell the same have in common: all but their time and signature."""
    return receipt.study, receipt.round, receipt.outcome, receipt.head, receipt.root


def _halve(path: Path, whole: bytes) -> None:
    write_atomically(path, whole[whole.index(b"\n", len(whole) // 2) + 1 :], mode=0o600)
