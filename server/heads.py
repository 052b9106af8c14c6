"""The last head of each site's ledger, in one study: what the answers named, and what the sites are told of it.

A round's messages all carry the root over the heads that were noted as it began, so that no two sites are told
different things. A head counts if it is further on than the one before; an answer that was long on its way
may name an older one. Where a site declares that it lost the end of its ledger, and the head that is held was of
that end, the one that its answer names takes its place, and all sites are told what was declared, from the next round
on. Whether a head is in its ledger is for the site to say, and afterwards for an auditor.
"""

from collections.abc import Iterator, Mapping

from server.ledger_records import HeadsNoted, TailLost
from shared.address import Stage
from shared.heads import MOST_LOST, Head, Held, Losses, held_by_site, held_for, root_over
from shared.wire import Report


class Heads:
    """The heads that this owner of a study has heard of.

    Args:
        noted: those that are known when it begins (`server/known_heads.py`).
        lost: by site, what is known then that was declared lost.
    """

    def __init__(self, noted: Mapping[str, Head], lost: Mapping[str, Losses] | None = None) -> None:
        self._heard, self._heard_lost = dict(noted), dict(lost or {})
        self._noted, self._noted_lost = dict(self._heard), dict(self._heard_lost)
        self._told: dict[str, Held] = {}

    def declared(self, site: str, answer: object) -> Iterator[TailLost]:
        """What an answer declares lost and nobody knows of yet, for the journal."""
        if not isinstance(answer, Report) or answer.ledger is None:
            return
        for lost in answer.lost:
            known, before = self._heard_lost.get(site, ()), self._heard.get(site)
            if lost not in known:
                self._heard_lost[site] = (*known, lost)[-MOST_LOST:]
                if before is not None and lost.covers(before):
                    self._heard[site] = answer.ledger
                yield TailLost(site=site, lost=lost, held=before)

    def hear(self, site: str, answer: object) -> bool:
        """Take the head that an answer names; False if another one was named for the same entry before."""
        head = answer.ledger if isinstance(answer, Report) else None
        before, lost = self._heard.get(site), self._heard_lost.get(site, ())
        if head is None or (isinstance(answer, Report) and not set(lost[-1:]) <= set(answer.lost)):
            return True  # it names none, or was on its way since before the end of that ledger was lost
        if before is None or head.n > before.n:
            self._heard[site] = head
        return before is None or head.n != before.n or head == before

    def note(self, stage: Stage, number: int) -> HeadsNoted:
        """What a round or trip begins with, for the journal; from now on the sites are told of this."""
        self._noted, self._noted_lost = dict(sorted(self._heard.items())), dict(sorted(self._heard_lost.items()))
        self._told = {}
        return HeadsNoted(round=number, stage=stage, root=root_over(self._noted), heads=self._noted)

    def held(self, site: str) -> Held:
        """What a site is told."""
        if not self._told:
            self._told = held_by_site(self._noted, self._noted_lost)
        return self._told.get(site) or held_for(site, self._noted, self._noted_lost)
