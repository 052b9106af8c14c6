"""The contract: what may leave one site in one study, agreed before the study starts.

It is derived from the study alone, so both sides reach the same bytes; its SHA-256 is named by
every release. Whether a site agrees is the site's policy; whether a release conforms is decided
by `client/egress.py` there and by admission on the server.
"""

from typing import Annotated

from pydantic import Field

from shared.canonical import canonical, digest
from shared.metrics import MetricRule, Score
from shared.study import Digest, Name, Section
from shared.tasks import task_for
from shared.update import Tensors, payload_limit
from shared.wire import Open


class Contract(Section):
    """What may leave `site` in one study, and nothing else.

    `payload_bytes` bounds the packed update of one round (0: no update at all); `rounds` is the
    highest round number that may be answered.
    """

    study: Name
    study_digest: Digest
    site: Name
    rounds: Annotated[int, Field(ge=0)]
    tensors: Tensors
    payload_bytes: Annotated[int, Field(ge=0)]
    metrics: tuple[MetricRule, ...]

    def digest(self) -> str:
        """SHA-256 (hex) of the contract's canonical bytes."""
        return digest(canonical(self.model_dump(mode="json")))


def score_fault(contract: Contract, score: Score) -> str | None:
    """What in a score was not agreed: a metric, its length or its range. None if all was."""
    rules = {(rule.kind, rule.name): rule for rule in contract.metrics}
    for name, values in score.statistics.items():
        rule = rules.get(("statistic", name))
        if rule is None or len(values) != rule.length or not all(rule.low <= v <= rule.high for v in values):
            return f"the statistic {name} is not as agreed"
    for name, value in score.figures.items():
        rule = rules.get(("figure", name))
        if rule is None or not rule.low <= value <= rule.high:
            return f"the figure {name} is not as agreed"
    return None


def derive_contract(message: Open, *, site: str) -> Contract:
    """The contract that follows from a study for one site."""
    study = message.study
    trains = study.study.kind == "train"
    return Contract(
        study=study.name,
        study_digest=study.digest(),
        site=site,
        rounds=study.rounds.count if trains else 0,
        tensors=message.tensors if trains else (),
        payload_bytes=payload_limit(message.tensors) if trains else 0,
        metrics=task_for(study.task).rules(),
    )
