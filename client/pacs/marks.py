"""What the ledger has instead of what names a patient: hashes under the site's own key, which never leaves.

An auditor to whom the site shows an instance or a query, and the key, can hold it against the entry; nobody else can
guess a UID or an accession number and try it.
"""

import hmac
from collections.abc import Iterable

from client.pacs.settings import QuerySettings
from shared.canonical import canonical


def instance_mark(key: bytes, uid: str) -> str:
    """HMAC-SHA256 (RFC 2104, hex) of the text `instance`, a zero byte and a SOP instance UID, under the site's key."""
    return _mark(key, b"instance", uid.encode())


def query_mark(key: bytes, query: QuerySettings, accessions: Iterable[str]) -> str:
    """As `instance_mark`, of `query` and the canonical JSON of the query, with the accession numbers of its file."""
    asked = query.model_dump(mode="json") | {"accessions": sorted(accessions)}
    return _mark(key, b"query", canonical(asked))


def _mark(key: bytes, what: bytes, said: bytes) -> str:
    return hmac.digest(key, what + b"\0" + said, "sha256").hex()
