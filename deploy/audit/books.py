"""The two books of a study: what a site's ledger says left it, and what the coordinator's journal says came.

Both are read entry by entry, each after its chain and signatures were checked; only what is needed to lay
them beside each other is kept. What follows from it is decided in `deploy/audit/reconcile.py`.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from deploy.audit.keys import Signer
from deploy.audit.losses import TAIL_LOST, as_loss, read_loss
from deploy.audit.reading import as_count, as_list, as_text, in_form, sound_entries
from shared.chain import HEAD, Entry
from shared.errors import TrustError
from shared.heads import Head, LostTail
from shared.identity import COORDINATOR
from shared.keys import VerifyKey
from shared.ledger import read_entries


class Sent(NamedTuple):
    """An update that a ledger says left: `size` is in bytes, message and update together."""

    entry: int
    round: int
    digest: str
    size: int


class Left(NamedTuple):
    """What left by one entry, of any study: bytes, and how many messages with an update and without one."""

    entry: int
    size: int
    updates: int
    others: int


class Told(NamedTuple):
    """The coordinator's word on a round, as the site wrote it down."""

    round: int
    outcome: str
    model_digest: str


class Counted(NamedTuple):
    """What a site's line counted: bytes of answers since its agent started behind entry `since`, up to `entry`."""

    entry: int
    since: int
    size: int


class Noted(NamedTuple):
    """The heads of the sites' ledgers under the root that a round's messages carried; by site."""

    round: int
    root: str
    heads: Mapping[str, Head]


class PutAway(NamedTuple):
    """The head with which a site put the study away, and its place where the journal has it."""

    hash: str
    n: int | None


@dataclass
class SiteBook:
    """What a site's ledger says of one study.

    Attributes:
        signed: how many of its entries its last head covers; who hands the file over may have written the others.
        sent: the updates that left.
        models: by round, digests of the models that came.
        receipts: the coordinator's words on its rounds, as written down.
        roots: by round, the roots of all heads that it was told.
        hashes: by place, the hashes of the entries that the journal names.
        released: what left by every release, of any study.
        traffic: what the line counted when the study was put away.
        lost: what it declares lost of its own end, in whatever study that was found out.
        told_lost: by site, what this one was told that others have lost.
    """

    site: str
    entries: int = 0
    signed: int = 0
    sent: list[Sent] = field(default_factory=list)
    models: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    receipts: list[Told] = field(default_factory=list)
    roots: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    hashes: dict[int, str] = field(default_factory=dict)
    released: list[Left] = field(default_factory=list)
    traffic: list[Counted] = field(default_factory=list)
    lost: list[LostTail] = field(default_factory=list)
    told_lost: dict[str, set[LostTail]] = field(default_factory=lambda: defaultdict(set))


@dataclass
class CoordinatorBook:
    """What the coordinator's journal says of a study.

    Attributes:
        signed: as a ledger's.
        asked: by round, the sites that it asked, in its last attempt.
        opened: by round, digests of the models that it started from.
        spooled: by site and round, digest and bytes of the updates that arrived whole.
        admitted: by site and round, the digests that were let in.
        commits: by round, who counted, and by site the word on each other one.
        models: by round, the digest of the committed model.
        noted: heads and roots as rounds began.
        closed: by site, the head with which it put the study away.
        lost: by site, what it has declared lost of its ledger.
    """

    study: str = ""
    cohort: tuple[str, ...] = ()
    entries: int = 0
    signed: int = 0
    asked: dict[int, tuple[str, ...]] = field(default_factory=dict)
    opened: dict[int, str] = field(default_factory=dict)
    spooled: dict[tuple[str, int], dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    admitted: dict[tuple[str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    commits: dict[int, dict[str, str]] = field(default_factory=dict)
    models: dict[int, str] = field(default_factory=dict)
    noted: list[Noted] = field(default_factory=list)
    closed: dict[str, PutAway] = field(default_factory=dict)
    lost: dict[str, set[LostTail]] = field(default_factory=lambda: defaultdict(set))


def signer_of(path: Path) -> str:
    """The name that a ledger's first head carries, which is for its key to confirm.

    Raises:
        TrustError: no head stands in it, or a line before does not follow.
    """
    for entry in read_entries(path):
        if entry.type == HEAD:
            return str(entry.data.get("signer"))
    raise TrustError(f"Nothing in {path.name} is signed.", remedy="Ask the site for its ledger after a round.")


def read_journal(path: Path, key: VerifyKey) -> CoordinatorBook:
    """A study's journal, by the coordinator's key.

    Raises:
        TrustError: it is broken, or an entry is not in its form.
    """
    book = CoordinatorBook()
    for entry in sound_entries(path, key, COORDINATOR):
        book.entries, book.signed = entry.n, entry.n if entry.type == HEAD else book.signed
        with in_form(path.name, entry):
            _take(book, entry.type, entry.data)
    if not book.study:
        raise TrustError(f"{path.name} is the journal of no study.", remedy="Name a study's journal.jsonl.")
    return book


def signed_entries(path: Path, book: CoordinatorBook) -> Iterator[Entry]:
    """The entries of a journal that was read, as far as the coordinator's signature covers them."""
    return takewhile(lambda entry: entry.n <= book.signed, read_entries(path))


def read_ledger(path: Path, signer: Signer, journal: CoordinatorBook) -> SiteBook:
    """A site's ledger, as far as it is about the study of a journal; raises as `read_journal`."""
    book, asked, closed = SiteBook(signer.name), _asked(journal, signer.name), journal.closed.get(signer.name)
    for entry in sound_entries(path, signer.key, signer.name):
        book.entries, book.signed = entry.n, entry.n if entry.type == HEAD else book.signed
        if entry.n in asked or (closed is not None and entry.hash == closed.hash):
            book.hashes[entry.n] = entry.hash
        with in_form(path.name, entry):
            if entry.type in ("release", "release_repeated"):
                book.released.append(_left(entry))
            elif entry.type == TAIL_LOST:
                book.lost.append(read_loss(entry))
            if entry.data.get("study") == journal.study:
                _note(book, entry)
    return book


def _left(entry: Entry) -> Left:
    size = as_count(entry.data["bytes"])
    if entry.type == "release_repeated":
        return Left(entry.n, size, 0, as_count(entry.data["count"]))
    updates = int(entry.data["update_digest"] is not None)
    return Left(entry.n, size, updates, 1 - updates)


def _asked(journal: CoordinatorBook, site: str) -> set[int]:
    return {noted.heads[site].n for noted in journal.noted if site in noted.heads}


def _note(book: SiteBook, entry: Entry) -> None:
    said = entry.data
    match entry.type:
        case "release" if said["update_digest"] is not None:
            sent = Sent(entry.n, as_count(said["round"]), as_text(said["update_digest"]), as_count(said["bytes"]))
            book.sent.append(sent)
        case "model_received":
            book.models[as_count(said["round"])].add(as_text(said["model_digest"]))
        case "receipt":
            told = Told(as_count(said["round"]), as_text(said["outcome"]), as_text(said["model_digest"]))
            book.receipts.append(told)
        case "traffic":
            book.traffic.append(Counted(entry.n, as_count(said["since"]), as_count(said["bytes"])))
        case "heads" if said["root"] is not None:
            book.roots[as_count(said["round"])].add(as_text(said["root"]))
            for site, losses in said.get("lost", {}).items():
                book.told_lost[site].update(map(as_loss, losses))


def _take(book: CoordinatorBook, kind: str, said: Mapping[str, Any]) -> None:
    match kind:
        case "study_started":
            book.study, book.cohort = as_text(said["study"]), tuple(map(as_text, as_list(said["cohort"])))
        case "round_opened":
            number = as_count(said["round"])
            book.opened[number] = as_text(said["model_digest"])
            book.asked[number] = tuple(map(as_text, as_list(said["cohort"])))
        case "update_spooled":
            arrived = book.spooled[as_text(said["site"]), as_count(said["round"])]
            arrived[as_text(said["update_digest"])] = as_count(said["update_bytes"])
        case "update_admitted":
            book.admitted[as_text(said["site"]), as_count(said["round"])].add(as_text(said["update_digest"]))
        case "round_committed":
            words = dict.fromkeys(map(as_text, said["counted"]), "counted")
            words |= {site: word for word in ("late", "refused", "absent") for site in said[word]}
            if (number := as_count(said["round"])) != len(book.commits) + 1:
                raise ValueError
            book.commits[number], book.models[number] = words, as_text(said["model_digest"])
        case "heads_noted":
            heads = {site: Head.model_validate(head) for site, head in said["heads"].items()}
            book.noted.append(Noted(as_count(said["round"]), as_text(said["root"]), heads))
        case "tail_lost":
            book.lost[as_text(said["site"])].add(as_loss(said["lost"]))
        case "site_closed":
            n = said.get("n")
            book.closed[as_text(said["site"])] = PutAway(as_text(said["head"]), None if n is None else as_count(n))
