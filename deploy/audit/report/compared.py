"""Journals laid beside the ledger of a page: what `audit reconcile` says of each study whose journal was given."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.audit.books import read_journal, read_ledger, signed_entries
from deploy.audit.keys import Signer, coordinator_of
from deploy.audit.reconcile import Reconciliation, reconcile
from deploy.audit.remade import Remade, remake
from shared.errors import ConfigError


@dataclass(frozen=True)
class Compared:
    """What came of one study; `remade` is None where its folder was not given."""

    found: Reconciliation
    remade: Remade | None


def compare(ledger: Path, signer: Signer, journals: Sequence[Path], studies: Sequence[Path]) -> list[Compared]:
    """Lay journals beside a ledger, and make the models of studies again.

    Args:
        ledger: whose chain holds.
        signer: whose ledger it is.
        journals: of studies that the site took part in.
        studies: folders of further ones, each with its journal.

    Raises:
        ConfigError: the coordinator's key is not known, or a folder is not a study's.
        TrustError: a journal, or the ledger, is broken.
    """
    given = [(journal, None) for journal in journals] + [(folder / "journal.jsonl", folder) for folder in studies]
    return [_compared(ledger, signer, journal, folder) for journal, folder in given]


def _compared(ledger: Path, signer: Signer, journal: Path, folder: Path | None) -> Compared:
    if not journal.is_file():
        raise ConfigError(f"There is no journal at {journal}.", remedy="Name the study's journal.jsonl, or its folder.")
    book = read_journal(journal, coordinator_of([signer], None))
    found = reconcile(book, [read_ledger(ledger, signer, book)])
    return Compared(found, None if folder is None else remake(signed_entries(journal, book), folder))
