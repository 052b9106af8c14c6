"""What comes over the budget benchmark's site from outside: a restore that the coordinator finds out, and a lie of it.

    backup/    beside the site's folder: budget and ledger as they were kept
    lost       beside it: the head of the ledger before they were put back, as the coordinator holds it

Each step can be taken again after a kill. Copying is the benchmark's own, and no durable write of the site's.
"""

from pathlib import Path

from client.privacy.budget_file import FILE_NAME
from client.privacy.claims import Claim, note_claim
from client.receipts import LEDGER_FILE
from shared.heads import Head
from shared.ledger import read_entries

_INVENTED = Head(n=10**6, hash="9" * 64)


def keep_backup(folder: Path) -> None:
    """Copy what the site has written."""
    backup = folder.parent / "backup"
    backup.mkdir(exist_ok=True)
    for name in (FILE_NAME, LEDGER_FILE):
        (backup / name).write_bytes((folder / name).read_bytes())


def restore(folder: Path, study: str, number: int) -> None:
    """Put the backup back; in the next message of a round the coordinator names the head that it holds."""
    lost, backup = folder.parent / "lost", folder.parent / "backup"
    if not lost.exists():
        last = list(read_entries(folder / LEDGER_FILE))[-1]
        lost.write_text(Head(n=last.n, hash=last.hash).model_dump_json())
    for name in (FILE_NAME, LEDGER_FILE):
        (folder / name).write_bytes((backup / name).read_bytes())
    head = Head.model_validate_json(lost.read_bytes())
    note_claim(folder, Claim(study=study, round=number, head=head))


def lie(folder: Path, study: str, number: int) -> None:
    """The coordinator names a head that never was."""
    note_claim(folder, Claim(study=study, round=number, head=_INVENTED))
