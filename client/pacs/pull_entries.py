"""What the ledger says of a pull: what was asked of which PACS, before it is asked, and what came, however it ended.

A pull that is killed leaves its beginning alone; the next one counts what had come (`already_there`). No accession
number, description or UID stands there: a keyed hash of the whole query does.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from client.pacs.account import Account
from client.pacs.marks import query_mark
from client.pacs.settings import PacsSettings
from client.privacy.patients import patient_key
from client.waiting_entries import keep_entry, note_now

BEGAN, ENDED = "pull_began", "pull_ended"


@contextmanager
def written_down(
    folder: Path, pacs: PacsSettings, accessions: Sequence[str], account: Account, *, now: Callable[[], str]
) -> Iterator[None]:
    """Write down that a pull begins, and with the end of the block what came of it.

    Args:
        folder: the site's.
        pacs: what is asked, and of whom.
        accessions: of the query's file, if it names one.
        account: what the pull counts.
        now: RFC 3339, UTC.

    Raises:
        DiskFull: there is no room for it.
    """
    asked = pacs.query.model_dump(mode="json", include={"modalities", "body_parts", "first_day", "last_day"})
    digest, began, end = query_mark(patient_key(folder), pacs.query, accessions), now(), "whole"
    said = {"source": pacs.label, "query_digest": digest, "began": began}
    keep_entry(folder, BEGAN, said | {"query": asked | {"accessions": len(accessions)}})
    try:
        yield
    except BaseException as error:
        end = str(getattr(error, "code", "interrupted"))
        raise
    finally:
        keep_entry(folder, ENDED, said | _came(account) | {"ended": now(), "end": end})
        note_now(folder, now=now())


def _came(account: Account) -> dict[str, int]:
    return {
        "exams": account.exams,
        "instances": account.instances,
        "pulled": account.pulled,
        "bytes": account.pulled_bytes,
        "already_there": account.already_there,
        "failed": len(account.failed),
    }
