"""The last heads of all sites' ledgers under one root, so that whoever keeps the root bears witness to each of them.

Every answer of a site names the head of its ledger, and every round message the root of all heads that the
coordinator holds, with the proof that the reader's own is among them. The leaves are the sites in the order of
their names; a leaf is the text `LEAF_PURPOSE` and the canonical JSON of site, `n` and `hash`. How a tree is
hashed is decided in `shared/merkle.py`; what follows from a proof that fails, by who reads it.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from shared.canonical import canonical
from shared.ledger import Ledger
from shared.merkle import path_of, root_along, root_of
from shared.section import Section
from shared.study import Digest, Name

LEAF_PURPOSE = b"wardround site head 1\n"
_DEEPEST = 20  # levels of a tree, for a million sites


class Head(Section):
    """A ledger's last entry: its place, from 1, and its SHA-256; 0 and zeros before the first."""

    n: Annotated[int, Field(ge=0, le=2**40)]
    hash: Digest


class Held(Section):
    """The root of all heads that the coordinator holds, and what it holds of the site that this is said to.

    `head` is None if it holds none of that site; else its leaf is the one at `place`, from 0, of `sites`, and
    `path` leads from there to the root.
    """

    root: Digest
    sites: Annotated[int, Field(ge=0, le=2**_DEEPEST)]
    head: Head | None = None
    place: Annotated[int, Field(ge=0, le=2**_DEEPEST)] = 0
    path: Annotated[tuple[Digest, ...], Field(max_length=_DEEPEST)] = ()

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


def held_for(site: str, heads: Mapping[Name, Head]) -> Held:
    """What is said to a site of the heads that are held."""
    said = Held(root=root_over(heads), sites=len(heads), head=heads.get(site))
    if said.head is None:
        return said
    place = sorted(heads).index(site)
    path = tuple(beside.hex() for beside in path_of(_leaves(heads), place))
    return said.model_copy(update={"place": place, "path": path})


def _leaves(heads: Mapping[Name, Head]) -> list[bytes]:
    return [_leaf(site, heads[site]) for site in sorted(heads)]


def _leaf(site: str, head: Head) -> bytes:
    return LEAF_PURPOSE + canonical({"site": site, **head.model_dump()})
