"""The last heads of all sites' ledgers under one root, so that whoever keeps the root bears witness to each of them.

Every answer of a site names the head of its ledger, and every round message the root of all heads that the
coordinator holds, with the proof that the reader's own is among them. The leaves are the sites in the order of
their names; a leaf is the text `LEAF_PURPOSE` and the canonical JSON of site, `n` and `hash`. How a tree is
hashed is decided in `shared/merkle.py`; what follows from a proof that fails, by who reads it.
"""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, model_validator

from shared.canonical import canonical
from shared.fields import Digest, Name
from shared.ledger import Ledger
from shared.merkle import paths_of, root_along, root_of
from shared.section import Section

LEAF_PURPOSE = b"wardround site head 1\n"
MOST_LOST = 4  # the latest declarations of one site are told on; more are for people to talk about
MOST_TOLD = 500  # sites that losses are told of: with four each, about a third of a ledger's longest entry
_DEEPEST = 20  # levels of a tree, for a million sites


class Head(Section):
    """A ledger's last entry: its place, from 1, and its SHA-256; 0 and zeros before the first."""

    n: Annotated[int, Field(ge=0, le=2**40)]
    hash: Digest


class LostTail(Section):
    """The end of a ledger that its site has declared lost: up to `entry`, which others hold with its `hash`.

    Behind `since` nobody vouches for what stands there now, so that at most `entry` - `since` entries are lost.
    `declared` is when (RFC 3339, UTC).
    """

    since: Annotated[int, Field(ge=0, le=2**40)]
    entry: Annotated[int, Field(ge=1, le=2**40)]
    hash: Digest
    declared: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")]

    @model_validator(mode="after")
    def _has_entries(self) -> Self:
        if self.since >= self.entry:
            raise ValueError("a tail that was lost has at least an entry")
        return self

    @property
    def most(self) -> int:
        """How many entries are lost at most."""
        return self.entry - self.since

    def covers(self, head: Head) -> bool:
        """Whether a head may have been one of the lost entries."""
        return self.since < head.n < self.entry or head == Head(n=self.entry, hash=self.hash)


Losses = Annotated[tuple[LostTail, ...], Field(max_length=MOST_LOST)]  # of one site, oldest first


class Held(Section):
    """The root of all heads that the coordinator holds, and what it holds of the site that this is said to.

    `head` is None if it holds none of that site; else its leaf is the one at `place`, from 0, of `sites`, and
    `path` leads from there to the root. `lost` is what sites have declared of their ledgers, told to all; of more
    than `MOST_TOLD` sites, what was declared last. Whoever says more is refused by the sites.
    """

    root: Digest
    sites: Annotated[int, Field(ge=0, le=2**_DEEPEST)]
    head: Head | None = None
    place: Annotated[int, Field(ge=0, le=2**_DEEPEST)] = 0
    path: Annotated[tuple[Digest, ...], Field(max_length=_DEEPEST)] = ()
    lost: dict[Name, Losses] = Field(default_factory=dict)

    def proves(self, site: str) -> bool:
        """Whether the path leads from the site's head to the root."""
        if self.head is None:
            return False
        path = [bytes.fromhex(beside) for beside in self.path]
        found = root_along(_leaf(site, self.head), path, place=self.place, leaves=self.sites)
        return found == bytes.fromhex(self.root)


def head_of(ledger: Ledger) -> Head:
    """Where a ledger has got to."""
    return Head(n=ledger.count, hash=ledger.head)


def root_over(heads: Mapping[Name, Head]) -> str:
    """The root of these sites' heads, in hex."""
    return root_of(_leaves(heads)).hex()


def held_for(site: str, heads: Mapping[Name, Head], lost: Mapping[Name, Losses] | None = None) -> Held:
    """What is said to a site of the heads that are held, and of what was declared lost."""
    nothing = Held(root=root_over(heads), sites=len(heads), lost=_told(lost))
    return held_by_site(heads, lost).get(site, nothing)


def held_by_site(heads: Mapping[Name, Head], lost: Mapping[Name, Losses] | None = None) -> dict[Name, Held]:
    """What is said to each site whose head is held; the tree is built once."""
    root, paths = paths_of(_leaves(heads))
    said = Held(root=root.hex(), sites=len(heads), lost=_told(lost))
    return {
        site: said.model_copy(
            update={"head": heads[site], "place": place, "path": tuple(beside.hex() for beside in path)}
        )
        for place, (site, path) in enumerate(zip(sorted(heads), paths, strict=True))
    }


def _told(lost: Mapping[Name, Losses] | None) -> dict[Name, Losses]:
    known = dict(lost or {})
    latest = set(sorted(known, key=lambda site: known[site][-1].declared)[-MOST_TOLD:])
    return {site: losses for site, losses in known.items() if site in latest}


def _leaves(heads: Mapping[Name, Head]) -> list[bytes]:
    return [_leaf(site, heads[site]) for site in sorted(heads)]


def _leaf(site: str, head: Head) -> bytes:
    return LEAF_PURPOSE + canonical({"site": site, **head.model_dump()})
