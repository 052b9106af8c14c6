"""What a message tells of a site's data beside its update, by name: the ledger says it of every release.

Of a private study nothing may stand here, but exact scores of test patients where that was agreed. What may
leave is decided by the contract; an auditor holds the two against each other (`deploy/audit/spending.py`).
"""

from shared.contract import Contract
from shared.private_training import scores_may_leave
from shared.wire import Message, Opened, Ready, Rehearsed

_SPLITS = ("validation", "test")


def may_tell(contract: Contract) -> dict[str, object]:
    """What the ledger says of a contract: whether it is of a private study, and what of the data may leave."""
    privacy, trains = contract.privacy, contract.rounds > 0
    scores = [f"scores.{split}" for split in _SPLITS if scores_may_leave(privacy, split)]
    counts = ["patients", "examples", "counts", "seconds"] if privacy is None else []
    if contract.terms is None or contract.terms.floors.get("subgroup_scores"):
        scores += [f"subgroups.{trait}" for trait in contract.subgroups]
    return {"private": privacy is not None, "leaves": [*(["update"] if trains else []), *counts, *scores]}


def told_by(message: Message) -> list[str]:
    """The names of the fields that follow from the data."""
    if isinstance(message, Opened):
        return [name for name in ("patients", "examples") if getattr(message, name)]
    if isinstance(message, Rehearsed) and message.survey is not None:
        return ["survey"]
    if not isinstance(message, Ready):
        return []
    counted = message.counts.examples or message.counts.patients
    scores = sorted({f"scores.{score.split}" for score in message.scores})
    scores += sorted({f"subgroups.{one.trait}" for score in message.scores for one in score.subgroups})
    scores += sorted(f"withheld.{split}" for split in message.withheld)
    return [*(["counts"] if counted else []), *scores, *(["seconds"] if message.seconds else [])]
