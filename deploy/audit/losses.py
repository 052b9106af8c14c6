"""The ends of ledgers that were declared lost, as ledgers and journals say it.

Whether a declaration is true nobody can see; that it was made, when and by whom stands in the site's own ledger, in
the coordinator's journal and in the ledgers of all other sites.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.chain import Entry
from shared.errors import TrustError
from shared.heads import LostTail

TAIL_LOST = "tail_lost"


def read_loss(entry: Entry) -> LostTail:
    """What an entry `tail_lost` of a site's ledger declares.

    Raises:
        TrustError: it is in another form.
    """
    said = {name: entry.data.get(name) for name in ("since", "entry", "hash")}
    return as_loss(said | {"declared": entry.time})


def as_loss(said: Mapping[str, Any]) -> LostTail:
    """A declaration as others were told it; raises as `read_loss`."""
    try:
        return LostTail.model_validate(said)
    except ValidationError:
        raise TrustError(
            "it declares a loss that cannot be read", remedy="Ask the site which entries it has lost."
        ) from None


def in_words(loss: LostTail) -> str:
    """The declaration as part of a verdict."""
    return f"a tail of at most {loss.most:,} entries was lost and declared on {loss.declared[:10]}"
