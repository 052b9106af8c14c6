"""The entries of a file whose chain and signatures must hold to its end, and values in the form that they should have.

A journal, or a ledger beside one. Each was written by who holds the key, in whatever form that one liked.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from shared.chain import HEAD, Entry, Tip, verified, without_newline
from shared.errors import ConfigError, TrustError
from shared.keys import VerifyKey
from shared.ledger import read_lines

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")


def sound_entries(path: Path, key: VerifyKey, signer: str) -> Iterator[Entry]:
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
        raise _broken(path, count + 1, error.what) from None


def _broken(path: Path, line: int, why: str) -> TrustError:
    return TrustError(
        f"{path.name} is broken at line {line}: {why}",
        remedy="Ask for the file again, and compare its signer's fingerprint; `wardround audit verify` says more.",
    )


def chained_entries(path: Path) -> Iterator[Entry]:
    """The entries, each as it follows from the one before; whose they are, no signature says.

    Raises:
        TrustError: there is none, or a line does not follow; the message names it.
    """
    tip = Tip()
    try:
        for line in read_lines(path):
            entry, tip = tip.follow(without_newline(line))
            yield entry
    except TrustError as error:
        raise _broken(path, tip.count + 1, error.what) from None
    if not tip.count:
        raise _broken(path, 1, "there is no entry.")


def insist_on_signer(path: Path, name: str) -> None:
    """Tell a key that is somebody else's from a ledger that is broken, by the name in the ledger's first head.

    Raises:
        ConfigError: that is another name, so the ledger or the key was mistaken for another.
    """
    with suppress(TrustError, TypeError):  # of a broken line the verdict is the caller's
        for entry in chained_entries(path):
            if entry.type == HEAD:
                found = as_name(entry.data.get("signer"))
                if found != name:
                    raise ConfigError(
                        f"{path.name} is the ledger of {found}; the key is of {name}.",
                        remedy=f"Name the key of {found} with --key, or the ledger of {name}.",
                    )
                return


def signed(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The entries that a head covers; who hands a file over may have written those behind the last one.

    Raises:
        TrustError: there is no head.
    """
    waiting, heads = list[Entry](), 0
    for entry in entries:
        waiting.append(entry)
        if entry.type == HEAD:
            heads += 1
            yield from waiting
            waiting.clear()
    if not heads:
        raise unsigned()


def unsigned() -> TrustError:
    """Of a ledger without a head."""
    return TrustError(
        "Nothing in the ledger is signed; anybody could have written it.",
        remedy="Ask the site for its ledger after a round was receipted, or after its agent was stopped.",
    )


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
