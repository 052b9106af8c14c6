"""The contract: what may leave one site in one study, agreed before the study starts.

What follows from the study and its cohort, both sides derive alike; what the site adds (`shared/site_terms.py`), it
says when it agrees. So both name the same bytes, and their SHA-256 is named by every release. What of a release has a
place and what a report may hold is decided here, for the site's door and the server's reception alike:

1. updates are for the agreed rounds, scores alone for the agreed validation trips after them and the one
   closing trip after these;
2. only the report of a round brings an update; a report's scores are about the model that was sent, one
   per split, test patients only in the closing trip, have every agreed statistic, without which they
   would not add to others, or none and few figures, where the site's policy keeps them, and name only
   agreed metrics, with agreed length and range; subgroups are of test patients, by agreed traits, and have what
   their score has; work that was late for its own, earlier round brings no scores, and a split that is withheld is
   not scored;
3. all of them together fit into one entry of a ledger;
4. in a private study an opening names no count, and a report none but the agreed steps, no duration, and no
   score but, if that was agreed, those of test patients.

Whether a site agrees is the site's policy; what else a release must be, `client/contract.py` decides.
"""

from functools import lru_cache
from typing import Annotated

from pydantic import Field

from shared.address import Stage
from shared.canonical import canonical, digest
from shared.chain import LONGEST_LINE
from shared.cohort_rule import cohort_rule
from shared.fields import Digest, Name
from shared.metrics import COARSE_FIGURES, MetricRule, Score
from shared.privacy import Mechanism
from shared.private_training import PrivacySpec, mechanism_of, scores_may_leave
from shared.section import Section
from shared.site_terms import SiteTerms
from shared.study import Study
from shared.subgroups import Trait
from shared.tasks import task_for
from shared.update import Tensors, payload_limit, update_table
from shared.wire import Counts, Open, Opened, Ready

SCORES_LIMIT_BYTES = LONGEST_LINE - (1 << 16)  # an entry holds little else


class Contract(Section):
    """What may leave `site` in one study, and nothing else.

    `tensors` are an update's, in the dtypes in which they travel, and `payload_bytes` bounds the packed update of
    one round (0: no update at all); `rounds` is the highest
    number of a round that trains, and `validation_trips` so many numbers follow it before the closing trip.
    The last of these are for the sites of `own_models`, in this order: the model of the last round's start,
    moved by that site's update alone, is sent to all sites, which may work out that update from it.
    `subgroups` are the traits by which test patients may be told apart.
    `privacy` is what the study asks if it trains privately, `mechanism` what one round then costs a patient.
    `cohort` is the digest of the cohort rule, `terms` what the site adds; None before it has agreed.
    """

    study: Name
    study_digest: Digest
    site: Name
    rounds: Annotated[int, Field(ge=0)]
    validation_trips: Annotated[int, Field(ge=0)] = 0
    own_models: tuple[Name, ...] = ()
    tensors: Tensors
    payload_bytes: Annotated[int, Field(ge=0)]
    metrics: tuple[MetricRule, ...]
    subgroups: tuple[Trait, ...] = ()
    privacy: PrivacySpec | None = None
    mechanism: Mechanism | None = None
    cohort: Digest | None = None
    terms: SiteTerms | None = None

    def under(self, terms: SiteTerms) -> "Contract":
        """The contract that a site makes of this one."""
        return self.model_copy(update={"terms": terms})

    def digest(self) -> str:
        """SHA-256 (hex) of the contract's canonical bytes."""
        return _digest(self)

    def allows(self, stage: Stage, number: int) -> bool:
        """Whether a number may be answered at a stage: first the rounds, then the trips, the closing trip last."""
        closing = self.rounds + self.validation_trips + 1
        if stage in (Stage.TRAIN, Stage.UPLOAD):
            return 1 <= number <= self.rounds
        if stage is Stage.VALIDATE:
            return self.rounds < number < closing
        if stage is Stage.EVALUATE:
            return number == closing
        if stage is Stage.REHEARSE:
            return False
        return 0 <= number <= closing

    def own_model_at(self, number: int) -> str | None:
        """Whose own model is scored under a number; None if it is a global model."""
        place = number - (self.rounds + self.validation_trips - len(self.own_models)) - 1
        return self.own_models[place] if 0 <= place < len(self.own_models) else None


@lru_cache(maxsize=256)
def _digest(contract: Contract) -> str:  # every release names it
    return digest(canonical(contract.model_dump(mode="json")))


def opening_fault(contract: Contract, opened: Opened) -> str | None:
    """Whether an opening breaks rule 4, in words; None if it does not."""
    if contract.privacy is not None and (opened.patients or opened.examples):
        return "a private study is opened without counts"
    return None


def report_fault(contract: Contract, report: Ready) -> str | None:
    """Which of rules 2 to 4 a report breaks, in words; None if it breaks none."""
    if fault := _place_fault(report) or _private_fault(contract, report):
        return fault
    for score in report.scores:
        if score.model_digest != report.model_digest:
            return "a score is about another model"
        if fault := _score_fault(contract, score) or _subgroups_fault(contract, score):
            return fault
    if len(canonical([score.model_dump(mode="json") for score in report.scores])) > SCORES_LIMIT_BYTES:
        return "the scores are too long for an entry of a ledger"
    return None


def _place_fault(report: Ready) -> str | None:
    splits = [*(score.split for score in report.scores), *report.withheld]
    if report.late is not None and (splits or not 1 <= report.late.round < report.address.round):
        return "late work is of an earlier round and brings no scores"
    if len(set(splits)) != len(splits):
        return "a split is scored twice, or scored and withheld"
    if report.update_digest is not None and report.address.stage is not Stage.TRAIN:
        return "a trip that only scores brings no update"
    if "test" in splits and report.address.stage is not Stage.EVALUATE:
        return "test patients are scored in the closing trip alone"
    return None


def _private_fault(contract: Contract, report: Ready) -> str | None:
    if contract.privacy is None or contract.mechanism is None:
        return None
    steps = contract.mechanism.steps if report.address.stage is Stage.TRAIN else 0
    if report.counts != Counts(examples=0, patients=0, steps=steps) or report.seconds or report.withheld:
        return "a private study says no count but the agreed steps, no duration, and not what is withheld"
    if not all(scores_may_leave(contract.privacy, score.split) for score in report.scores):
        return "a private study withholds this score"
    return None


def _score_fault(contract: Contract, score: Score) -> str | None:
    rules = {(rule.kind, rule.name): rule for rule in contract.metrics}
    if not score.statistics and score.figures.keys() <= set(COARSE_FIGURES):
        absent = set()
    else:
        absent = {name for kind, name in rules if kind == "statistic"} - score.statistics.keys()
    if absent:
        return f"the statistic {min(absent)} is missing"
    for name, values in score.statistics.items():
        rule = rules.get(("statistic", name))
        if rule is None or not rule.holds(values, patients=score.patients):
            return f"the statistic {name} is not as agreed"
    for name, value in score.figures.items():
        rule = rules.get(("figure", name))
        if rule is None or not rule.low <= value <= rule.high:
            return f"the figure {name} is not as agreed"
    return None


def _subgroups_fault(contract: Contract, score: Score) -> str | None:
    if score.subgroups and score.split != "test":
        return "subgroups are told of test patients alone"
    if len({(one.trait, one.value) for one in score.subgroups}) != len(score.subgroups):
        return "a subgroup is told twice"
    rules = {rule.name: rule for rule in contract.metrics}
    for one in score.subgroups:
        if one.trait not in contract.subgroups or not one.figures.keys() | one.statistics.keys() <= rules.keys():
            return "no subgroups of such a trait, or no such figures of them, were agreed"
        if one.patients is not None and bool(one.statistics) != bool(score.statistics):
            return "a subgroup has statistics, and its score has none, or the other way round"
        if any(not rules[n].holds(values, patients=one.patients or 0) for n, values in one.statistics.items()):
            return "the statistics of a subgroup are not as agreed"
    traits = {
        one.trait: sum(o.patients or 0 for o in score.subgroups if o.trait == one.trait) for one in score.subgroups
    }
    return (
        "the subgroups of a trait have more patients than the split"
        if max(traits.values(), default=0) > score.patients
        else None
    )


def derive_contract(message: Open, *, site: str) -> Contract:
    """The contract that follows from the opening of a study for one site."""
    return contract_of(message.study, message.tensors, site=site, cohort=message.cohort)


@lru_cache(maxsize=256)  # it is asked for with every message
def contract_of(study: Study, tensors: Tensors, *, site: str, cohort: tuple[str, ...] = ()) -> Contract:
    """The contract of a study whose model has these tensors, for one site; without a cohort nothing is agreed to it."""
    trains = study.study.kind == "train"
    sent = update_table(tensors, study.transfer.update_dtype) if trains else ()
    return Contract(
        study=study.name,
        study_digest=study.digest(),
        site=site,
        rounds=study.agreed_rounds,
        validation_trips=study.validation_trips,
        own_models=study.cross_sites,
        tensors=sent,
        payload_bytes=payload_limit(sent) if trains else 0,
        metrics=task_for(study.task).rules() if scores_may_leave(study.privacy, "test") else (),
        subgroups=study.task.subgroups,
        privacy=study.privacy,
        mechanism=mechanism_of(study.privacy, study.training),
        cohort=cohort_rule(study, cohort) if cohort else None,
    )
