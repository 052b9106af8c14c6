"""The entries of a file whose chain and signatures must hold to its end, and values in the form that they should have.

A journal, or a ledger beside one. Each was written by who holds the key, in whatever form that one liked.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from shared.chain import HEAD, Entry, verified
from shared.errors import TrustError
from shared.ledger import read_lines

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")


def sound_entries(path: Path, key: Ed25519PublicKey, signer: str) -> Iterator[Entry]:
    """The entries, each after it was checked.

    Raises:
        TrustError: the file is broken; the message names the line.
    """
    count = 0
    try:
        for entry in verified(read_lines(path), public_key=key, signer=signer):
            count = entry.n
            yield entry
    except TrustError as error:
        raise TrustError(
            f"{path.name} is broken at line {count + 1}: {error.what}",
            remedy="Ask for the file again, and compare its signer's fingerprint; `wardround audit verify` says more.",
        ) from None


def signed(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries that a head covers; who hands a file over may have written those behind the last one."""
    waiting = list[Entry]()
    for entry in entries:
        waiting.append(entry)
        if entry.type == HEAD:
            yield from waiting
            waiting.clear()


@contextmanager
def in_form(file: str, entry: Entry) -> Iterator[None]:
    """Where an entry's data are taken: what they lack, or hold in another form, is said of the entry.

    Raises:
        TrustError: they do.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, TrustError):
        raise TrustError(
            f"Entry {entry.n} of {file} ({entry.type}) is not in its form.",
            remedy="Use the version of Wardround that wrote the file.",
        ) from None


def as_count(value: object) -> int:
    """A whole number from 0 on, which True is not; raises `TypeError`."""
    if type(value) is not int or value < 0:
        raise TypeError
    return value


def as_text(value: object) -> str:
    """Text; raises `TypeError`."""
    if not isinstance(value, str):
        raise TypeError
    return value


def as_name(value: object) -> str:
    """A name of a site, which may stand in that of a file; raises `TypeError`."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise TypeError
    return value


def as_list(value: object) -> list[Any]:
    """A list; raises `TypeError`."""
    if not isinstance(value, list):
        raise TypeError
    return value


def as_number(value: object) -> float:
    """A number from 0 on; raises `TypeError`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise TypeError
    return value


def as_share(value: object) -> float:
    """A number above 0, and at most 1; raises `TypeError`."""
    if not 0 < (share := as_number(value)) <= 1:
        raise TypeError
    return share
