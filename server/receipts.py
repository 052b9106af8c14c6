"""The receipts: what each site is told of its work in the last round for which it worked.

Pure; the receipts ride on the next message to the site. A site that was at work when a round closed
without it is told so, too, though the server holds no digest of its work.
"""

from typing import Literal

from server.history import LiveHistory
from server.records import RoundCommitted
from shared.wire import Receipt


def receipts_for(site: str, history: LiveHistory) -> tuple[Receipt, ...]:
    """The word on the last committed round in which a site worked, and before it on the last that it reported.

    None while those rounds are open. They differ where a site has not heard of the rounds between: it is told
    what became of the update that it holds.
    """
    number, update_digest = history.worked.get(site, (0, None))
    said = history.announced.get(site)
    rounds = ({said.round: said.update_digest} if said else {}) | {number: update_digest}
    closed = sorted((n, digest) for n, digest in rounds.items() if 1 <= n <= history.last_round)
    return tuple(_receipt(site, n, digest, history) for n, digest in closed)


def _receipt(site: str, number: int, update_digest: str | None, history: LiveHistory) -> Receipt:
    committed = history.commits[number - 1]
    assert history.started is not None
    return Receipt(
        study=history.started.study,
        round=number,
        outcome=_outcome(site, committed),
        update_digest=update_digest,
        model_digest=committed.model_digest,
    )


def _outcome(site: str, committed: RoundCommitted) -> Literal["counted", "refused", "late"]:
    if site in committed.counted:
        return "counted"
    return "refused" if site in committed.refused else "late"
