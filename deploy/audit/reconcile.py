"""Do the two sides of a study agree? Sites' ledgers laid beside the coordinator's journal.

In this order, for each site whose ledger is there:

1. the heads of its ledger that the journal holds are entries of it, and the roots that it was told are the
   journal's, each over the heads that were noted with it;
2. each model that it received is the one from which the journal says the round started;
3. each update that left was received: counted, late, refused or cut off by the journal's own word, with the same
   digest, and as many bytes as the ledger says, within 2 % and 64 KiB for its message;
4. each receipt that it holds says what the journal says;
5. the line carried no more bytes of answers than the ledger's releases, within 2 %, 64 KiB for each message with an
   update and 4 KiB for each other one, what Flower adds to it;
6. what it declares lost of its end, and what it was told of others' losses, is what the journal says;
7. its last head covers it to its end, and the coordinator's the journal;

and for each round, that every update which counted left its site by that site's own ledger. What a rule does not
allow is a discrepancy; that a line broke, that a site's ledger is missing, that an end is not signed yet, or that what
is not there stood in an end which its site has declared lost, is none, and is said. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from deploy.audit.books import CoordinatorBook, Sent, SiteBook
from shared.heads import Head, LostTail, root_over

_OPEN = {"not_received", "round_open", "not_sent", "head_lost", "release_lost", "unsigned"}  # a line may break
_SHARE, _MESSAGE_BYTES = 0.02, 64 << 10
_SMALL_BYTES = 4 << 10  # Flower 1.39 adds about 1.6 KB to a message without an update


@dataclass(frozen=True)
class Discrepancy:
    """Where the books part: `site` is None if it is the journal's own, `round` 0 where it is of none."""

    site: str | None
    round: int
    code: str
    what: str


@dataclass(frozen=True)
class SiteAccount:
    """A site's updates by what became of them; `bytes` of those that left, `received` of those that `arrived`."""

    site: str
    entries: int
    updates: int
    bytes: int
    received: int
    arrived: int
    counted: int


@dataclass(frozen=True)
class Reconciliation:
    """What laying the books side by side showed.

    Attributes:
        discrepancies: where they part, by site and round.
        open_points: what is no discrepancy, and which nobody can prove.
        missing: sites of the cohort whose ledger was not there.
        rounds: by round, how many counted, and how many of these a ledger confirms.
        drawn: by round, the sites that were asked, where these were not the whole cohort.
        lost: by site, what its ledger or the journal declares lost of that ledger's end.
    """

    study: str
    accounts: tuple[SiteAccount, ...]
    discrepancies: tuple[Discrepancy, ...]
    open_points: tuple[Discrepancy, ...]
    missing: tuple[str, ...]
    rounds: Mapping[int, tuple[int, int]]
    drawn: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    lost: Mapping[str, tuple[LostTail, ...]] = field(default_factory=dict)

    @property
    def signed(self) -> bool:
        """Whether all books are signed to their end."""
        return all(one.code != "unsigned" for one in self.open_points)

    @property
    def agrees(self) -> bool:
        """Whether there is no discrepancy."""
        return not self.discrepancies


def reconcile(journal: CoordinatorBook, ledgers: Sequence[SiteBook]) -> Reconciliation:
    """Lay the books of one study side by side by the module's rules."""
    books = {ledger.site: ledger for ledger in ledgers}
    found = [*_journal_alone(journal)]
    for ledger in ledgers:
        found += [*_heads(journal, ledger), *_models(journal, ledger), *_updates(journal, ledger)]
        found += [*_receipts(journal, ledger), *_traffic(ledger), *_losses(journal, ledger)]
        found += _unsigned(ledger.site, ledger)
    found += _rounds(journal, books)
    ordered = sorted(found, key=lambda one: (one.round, one.site or "", one.code))
    return Reconciliation(
        study=journal.study,
        accounts=tuple(_account(journal, ledger) for ledger in ledgers),
        discrepancies=tuple(one for one in ordered if one.code not in _OPEN),
        open_points=tuple(one for one in ordered if one.code in _OPEN),
        missing=tuple(site for site in journal.cohort if site not in books),
        rounds={number: _confirmed(journal, books, number) for number in sorted(journal.commits)},
        drawn={n: asked for n, asked in journal.asked.items() if {*asked} != {*journal.cohort}},
        lost=_all_losses(journal, books),
    )


def _journal_alone(journal: CoordinatorBook) -> Iterator[Discrepancy]:
    for noted in journal.noted:
        if root_over(noted.heads) != noted.root:
            yield Discrepancy(None, noted.round, "root", "the root is not the one over the heads noted with it")
    yield from _unsigned(None, journal)


def _unsigned(site: str | None, book: CoordinatorBook | SiteBook) -> Iterator[Discrepancy]:
    if behind := book.entries - book.signed:
        yield Discrepancy(site, 0, "unsigned", f"{behind:,} of its entries stand behind its last signature")


def _heads(journal: CoordinatorBook, ledger: SiteBook) -> Iterator[Discrepancy]:
    site = ledger.site
    for noted in journal.noted:
        head = noted.heads.get(site)
        if head is not None and ledger.hashes.get(head.n) != head.hash:
            code = "head_lost" if _covered(ledger, head.n, head.hash) else "head"
            yield Discrepancy(site, noted.round, code, f"entry {head.n} is not the one that the journal holds")
    if (closed := journal.closed.get(site)) is not None and closed.hash not in ledger.hashes.values():
        code = "head_lost" if closed.n and _covered(ledger, closed.n, closed.hash) else "head"
        yield Discrepancy(site, 0, code, "the head with which it put the study away is not in its ledger")
    roots = {noted.root for noted in journal.noted}
    for number, told in ledger.roots.items():
        if told - roots:
            yield Discrepancy(site, number, "root", "it was told a root of all heads that the journal does not hold")


def _covered(ledger: SiteBook, n: int, digest: str) -> bool:
    return any(loss.covers(Head(n=n, hash=digest)) for loss in ledger.lost)


def _models(journal: CoordinatorBook, ledger: SiteBook) -> Iterator[Discrepancy]:
    for number, digests in ledger.models.items():
        if number in journal.opened and digests != {journal.opened[number]}:
            yield Discrepancy(ledger.site, number, "model", "it received another model than the round's")


def _updates(journal: CoordinatorBook, ledger: SiteBook) -> Iterator[Discrepancy]:
    for (number, digest), sent in _by_update(ledger).items():
        arrived = journal.spooled.get((ledger.site, number), {})
        if digest in arrived:
            size = arrived[digest]
            yield from (_size_fault(ledger.site, one, size) for one in sent if not _fits(one, size))
        else:
            yield _unreceived(journal, ledger.site, number)


def _by_update(ledger: SiteBook) -> dict[tuple[int, str], list[Sent]]:
    """An update may leave several times, each with an entry of its own."""
    updates: dict[tuple[int, str], list[Sent]] = {}
    for sent in ledger.sent:
        updates.setdefault((sent.round, sent.digest), []).append(sent)
    return updates


def _fits(sent: Sent, arrived: int) -> bool:
    return arrived <= sent.size <= arrived * (1 + _SHARE) + _MESSAGE_BYTES


def _size_fault(site: str, sent: Sent, arrived: int) -> Discrepancy:
    what = f"entry {sent.entry} says {sent.size:,} bytes left, and an update of {arrived:,} arrived"
    return Discrepancy(site, sent.round, "bytes", what)


def _unreceived(journal: CoordinatorBook, site: str, number: int) -> Discrepancy:
    word = journal.commits.get(number, {}).get(site)
    if number not in journal.commits:
        return Discrepancy(site, number, "round_open", "an update left, and the round was never committed")
    if word in ("late", "absent", "refused"):
        what = f"an update left, and did not arrive whole; the journal calls the site {word} there"
        return Discrepancy(site, number, "not_received", what)
    return Discrepancy(site, number, "unknown_update", "an update left of which the journal knows nothing")


def _receipts(journal: CoordinatorBook, ledger: SiteBook) -> Iterator[Discrepancy]:
    for told in ledger.receipts:
        word = journal.commits.get(told.round, {}).get(ledger.site)
        same = told.outcome == {"absent": "late"}.get(word or "", word)
        if not same or told.model_digest != journal.models.get(told.round):
            what = f"its receipt says {told.outcome}, the journal {word or 'nothing'}, or the models differ"
            yield Discrepancy(ledger.site, told.round, "receipt", what)


def _traffic(ledger: SiteBook) -> Iterator[Discrepancy]:
    for entry, since, counted in ledger.traffic:
        left = [one for one in ledger.released if since < one.entry < entry]
        released = sum(one.size for one in left)
        play = _SHARE * released + sum(one.updates * _MESSAGE_BYTES + one.others * _SMALL_BYTES for one in left)
        what = f"by entry {entry} its line carried {counted:,} bytes of answers, and its ledger released {released:,}"
        if abs(counted - released) > play:
            yield Discrepancy(ledger.site, 0, "traffic" if counted > released else "not_sent", what)


def _rounds(journal: CoordinatorBook, books: Mapping[str, SiteBook]) -> Iterator[Discrepancy]:
    for number, words in journal.commits.items():
        for site in (site for site, word in words.items() if word == "counted"):
            if not journal.admitted.get((site, number)):
                yield Discrepancy(site, number, "not_admitted", "it counted, and no update of it was admitted")
            elif site in books and not _left(journal, books[site], number):
                code = "release_lost" if _may_be_lost(journal, books[site], number) else "never_left"
                yield Discrepancy(site, number, code, "it counted, and its ledger released no such update")


def _may_be_lost(journal: CoordinatorBook, ledger: SiteBook, number: int) -> bool:
    """Whether what the site released in a round may have stood in an end of its ledger that it declared lost.

    A head that is noted is of the entry before the release that brought it.
    """
    heads = [(noted.round, noted.heads[ledger.site].n) for noted in journal.noted if ledger.site in noted.heads]
    began = max((n for at, n in heads if at <= number), default=0)
    ended = min((n for at, n in heads if at > number), default=None)
    return any(loss.entry > began and (ended is None or loss.since <= ended) for loss in ledger.lost)


def _losses(journal: CoordinatorBook, ledger: SiteBook) -> Iterator[Discrepancy]:
    for loss in journal.lost.get(ledger.site, set()) - set(ledger.lost):
        what = f"the journal has that it declared entries up to {loss.entry} lost, and its ledger does not say so"
        yield Discrepancy(ledger.site, 0, "loss", what)
    for site, told in ledger.told_lost.items():
        if told - journal.lost.get(site, set()):
            yield Discrepancy(ledger.site, 0, "loss", f"it was told of a loss of {site} that the journal does not hold")


def _all_losses(journal: CoordinatorBook, books: Mapping[str, SiteBook]) -> dict[str, tuple[LostTail, ...]]:
    sites = journal.lost.keys() | {site for site, book in books.items() if book.lost}
    found = {site: journal.lost.get(site, set()) | set(books[site].lost if site in books else ()) for site in sites}
    return {site: tuple(sorted(losses, key=lambda loss: loss.declared)) for site, losses in sorted(found.items())}


def _left(journal: CoordinatorBook, ledger: SiteBook, number: int) -> bool:
    return bool(journal.admitted[ledger.site, number] & {sent.digest for sent in ledger.sent})


def _confirmed(journal: CoordinatorBook, books: Mapping[str, SiteBook], number: int) -> tuple[int, int]:
    counted = [site for site, word in journal.commits[number].items() if word == "counted"]
    return len(counted), sum(site in books and _left(journal, books[site], number) for site in counted)


def _account(journal: CoordinatorBook, ledger: SiteBook) -> SiteAccount:
    updates = _by_update(ledger)
    arrived = [journal.spooled.get((ledger.site, number), {}).get(digest) for number, digest in updates]
    return SiteAccount(
        site=ledger.site,
        entries=ledger.entries,
        updates=len(updates),
        bytes=sum(sent.size for sent in ledger.sent),
        received=sum(size for size in arrived if size is not None),
        arrived=sum(size is not None for size in arrived),
        counted=sum(words.get(ledger.site) == "counted" for words in journal.commits.values()),
    )
