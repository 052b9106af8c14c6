"""The contract of a rehearsal: the codes that may leave a site, and that nothing else does.

It is derived from the question alone, as a study's contract is, and is held against each answer at the
site's door and at the server's reception: no round, no tensor, no byte of an update, no metric, of each
check one of the listed codes, and counts only if a survey was asked for.
"""

from pydantic import ValidationError

from shared.address import Stage
from shared.contract import Contract
from shared.rehearsal import Check, Code, codes_of
from shared.study import Study
from shared.survey import Surveyable, surveyable
from shared.wire import Rehearsed


class RehearsalContract(Contract):
    """What may leave `site` in the rehearsal of a study: a code of `codes` for each check, two durations, a survey."""

    codes: dict[Check, tuple[Code, ...]]
    survey: Surveyable | None = None

    def __hash__(self) -> int:
        return hash((self.study_digest, self.site))  # a mapping, as the codes are, has none

    def allows(self, stage: Stage, number: int) -> bool:
        """The one answer, and the word that the rehearsal was ended."""
        return number == 0 and stage in (Stage.REHEARSE, Stage.CLOSE)


def rehearsal_contract(study: Study, *, site: str, survey: bool = False) -> RehearsalContract:
    """The contract that follows from the rehearsal of a study for one site, with a survey or without."""
    return RehearsalContract(
        study=study.name,
        study_digest=study.digest(),
        site=site,
        rounds=0,
        tensors=(),
        payload_bytes=0,
        metrics=(),
        codes={check: codes_of(check) for check in Check},
        survey=surveyable(study) if survey else None,
    )


def rehearsal_fault(contract: Contract, answer: Rehearsed) -> str | None:
    """What of an answer a contract does not allow, in words; None if it allows it."""
    if not isinstance(contract, RehearsalContract) or answer.contract_digest != contract.digest():
        return "the contract is not that of a rehearsal"
    try:
        said = Rehearsed.model_validate(dict(answer))  # a copy may hold what its type does not allow
    except ValidationError:
        return "a rehearsal says nothing but codes and two coarse durations"
    if any(code not in contract.codes.get(check, ()) for check, code in said.findings.items()):
        return "a code is not among those agreed"
    if said.survey is not None:
        return "no survey was agreed" if contract.survey is None else contract.survey.fault(said.survey)
    return None
