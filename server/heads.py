"""The last head of each site's ledger in one study: what the answers named, and what the sites are told of it.

A round's messages all carry the root over the heads that were noted as it began, so that no two sites are told
different things. A head counts if it is further on than the one before; an answer that was long on its way
may name an older one. Whether a head is in its ledger is for the site to say, and afterwards for an auditor.
"""

from collections.abc import Mapping

from server.records import HeadsNoted
from shared.heads import Head, Held, held_for, root_over
from shared.wire import Report, Stage


class Heads:
    """The heads that this owner of a study has heard of.

    Args:
        noted: those that the journal holds.
    """

    def __init__(self, noted: Mapping[str, Head]) -> None:
        self._heard = dict(noted)
        self._noted = dict(noted)

    def hear(self, site: str, answer: object) -> bool:
        """Take the head that an answer names; False if another one was named for the same entry before."""
        head = answer.ledger if isinstance(answer, Report) else None
        before = self._heard.get(site)
        if head is None:
            return True
        if before is None or head.n > before.n:
            self._heard[site] = head
        return before is None or head.n != before.n or head == before

    def note(self, stage: Stage, number: int) -> HeadsNoted:
        """What a round or trip begins with, for the journal; from now on the sites are told of this."""
        self._noted = dict(sorted(self._heard.items()))
        return HeadsNoted(round=number, stage=stage, root=root_over(self._noted), heads=self._noted)

    def held(self, site: str) -> Held:
        """What a site is told."""
        return held_for(site, self._noted)
