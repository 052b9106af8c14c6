"""The receipts: what each site is told of its work in the last round for which it worked, and of a study's end.

Pure; the receipts ride on the next message to the site, and those on a study that it put away are exported.
A site that was at work when a round closed without it is told so, too, though the server holds no digest of
its work.
"""

from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from server.history import LiveHistory, StudyHistory
from server.records import RoundCommitted
from shared.heads import Head, Held, root_over
from shared.receipt import Receipt


def receipts_for(
    site: str, history: LiveHistory, held: Held, *, key: Ed25519PrivateKey, now: str
) -> tuple[Receipt, ...]:
    """The word on the last committed round in which a site worked, and before it on the last that it reported.

    None while those rounds are open. They differ where a site has not heard of the rounds between: it is told
    what became of the update that it holds.

    Args:
        site: who is told.
        history: the study so far.
        held: what the same message says of the sites' heads.
        key: the coordinator's, which signs each.
        now: RFC 3339 UTC time.
    """
    number, update_digest = history.worked.get(site, (0, None))
    said = history.announced.get(site)
    rounds = ({said.round: said.update_digest} if said else {}) | {number: update_digest}
    closed = sorted((n, digest) for n, digest in rounds.items() if 1 <= n <= history.last_round)
    common: dict[str, Any] = {"site": site, "head": held.head, "root": held.root, "time": now}
    return tuple(Receipt(**common, **_word(site, n, digest, history)).signed(key) for n, digest in closed)


def closing_receipts(history: StudyHistory, *, key: Ed25519PrivateKey, now: str) -> dict[str, Receipt]:
    """By site that has put the study away, the word on that: it names the head with which the site did.

    Arguments as `receipts_for`.
    """
    heads = {site: Head(n=said.n, hash=said.head) for site, said in history.closed.items() if said.n is not None}
    root, model = root_over(history.heads | heads), history.final_digest
    assert history.started is not None and model is not None
    common: dict[str, Any] = {"study": history.started.study, "round": history.last_round, "outcome": "closed"}
    common |= {"update_digest": None, "model_digest": model, "root": root, "time": now}
    return {site: Receipt(site=site, head=head, **common).signed(key) for site, head in sorted(heads.items())}


def _word(site: str, number: int, update_digest: str | None, history: LiveHistory) -> dict[str, Any]:
    committed = history.commits[number - 1]
    assert history.started is not None
    return {
        "study": history.started.study,
        "round": number,
        "outcome": _outcome(site, committed),
        "update_digest": update_digest,
        "model_digest": committed.model_digest,
    }


def _outcome(site: str, committed: RoundCommitted) -> Literal["counted", "refused", "late"]:
    if site in committed.counted:
        return "counted"
    return "refused" if site in committed.refused else "late"
