"""What a buffered round had admitted when the study's process died: it counts again, and its site is not asked.

A round that waits for its sites asks them again, and they answer from their spools. A buffered round closes
with whoever comes first, and after a restart others may come first: the model would be another one. So what
the journal says was admitted, and the spool still holds, is examined again and counts as before.
"""

from server.history import LiveHistory
from server.records import UpdateReady
from server.spool import UpdateSpool
from shared.address import Address
from shared.wire import Counts, Late, Ready


def admitted_before(history: LiveHistory, spool: UpdateSpool, *, address: Address) -> dict[str, Ready]:
    """By site, the report of each update that the open round admitted under any earlier owner.

    Args:
        history: before the round is opened again.
        spool: where the updates lie.
        address: the round as it is asked now.
    """
    found = {}
    for site, update in sorted((history.before | history.pending).items()):
        said = history.announced.get(site)
        same = said is not None and (said.round, said.update_digest) == (address.round, update.update_digest)
        if said is not None and same and spool.find(address.round, site, update.update_digest):
            found[site] = _as_reported(said, history, address)
    return found


def _as_reported(said: UpdateReady, history: LiveHistory, address: Address) -> Ready:
    """The report as if it came now; its scores stand in the journal already."""
    number, digest = said.late_from, history.model_digest
    assert digest is not None
    return Ready(
        address=address,
        model_digest=digest,
        update_digest=said.update_digest,
        update_bytes=said.update_bytes,
        uploaded=True,
        replayed=True,
        counts=Counts(examples=said.examples, patients=said.patients, steps=said.steps),
        scores=(),
        seconds={},
        late=Late(round=number, model_digest=history.commits[number - 1].previous_digest) if number else None,
    )
