"""What a site permits: its policy, from site.toml, against what a study asks. Pure; the policy always wins.

A study that breaks a line of the policy is refused with that line on the site's own console; the coordinator
hears a code and the line's key, and no value. Of a study that was agreed to it learns the floors' numbers, which the
contract names. The lines, in the order in which they are looked at:

1. `studies`: which ones, by name, or by name and digest; `client/consent.py` waits for a person, and for `hours`;
2. `rounds_at_most`, `bytes_per_round_at_most`, `bytes_per_study_at_most`: how much of it;
3. `batch_size_at_least`, `steps_at_least`: what a round must at least do, if it trains at all;
4. `metrics`: which figures and statistics may be asked;
5. `updates_may_be_kept`: whether the coordinator may keep them after their round;
6. `memorisation`: whether a model that draws may be trained without a bound on what it gives back of a patient
   (`shared/drawing_rules.py`); `require_privacy`, and `private_below_patients` for a site with few patients;
7. `peers_at_least`: how many of the cohort a person here has confirmed (`client/peers.py`);
8. `patients_at_least`, once the images were read;
9. in each round `model_change_at_most` (`client/seen_model.py`), and what its work came to (`client/floors.py`).

A survey, which is no study yet, `counts_may_be_told` permits. Three lines refuse nothing: `smallest_cell`,
`score_histograms` and `subgroup_scores` say how much of its scores and counts the site tells (`client/disclosure.py`).

A study names a network of the wheel, or it is no study (`shared/study.py`): no line is needed for that.
What private training may cost a patient, `budget`, is held against each study's reservation
(`client/privacy/purse.py`). A study whose noise is weak is private in name alone: only where `lifetime_epsilon` bounds
the cost does `[privacy]` stand for the batch of line 3 and for line 6, and no policy may require privacy without that
bound. Whose federation the site serves at all, `federation` and `coordinator` say, before anything is connected.
"""

import re
from collections.abc import Callable, Collection, Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from client.hours import Window
from client.privacy.budget_settings import BudgetSettings
from shared.contract import Contract
from shared.errors import ConfigError, Refusal, WireCode
from shared.fields import Fingerprint, Name
from shared.section import Section
from shared.site_terms import LONGEST_DAYS
from shared.study import Study
from shared.wire import Open

Permitted = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}(@[0-9a-f]{64})?$")]
Limit = Annotated[int, Field(ge=1, lt=2**53)]
_OTHER_FLOORS = {"private_below_patients", "smallest_cell", "score_histograms", "subgroup_scores"}
_REHEARSAL = re.compile(r"-rehearsal(-\d+)?$")


class Policy(Section):
    """What hospital IT permits. None, and 0 for a floor, permit whatever a study may ask.

    `studies` is `any`, `ask` (a person approves each), or a list of names, each alone or as NAME@DIGEST. Bytes
    are of updates, as they are packed. `batch_size_at_least` counts images, `steps_at_least` the optimiser's
    steps of a round, `patients_at_least` training patients, or all patients of a study that trains nothing.
    `contract_days` is how long a contract holds (`client/terms.py`).
    `smallest_cell` counts patients of a split, and of each side of a class in it; 1 withholds nothing.
    `model_change_at_most` is in norms of the model that the site saw last, for each round since.
    """

    federation: Name | None = None
    coordinator: Fingerprint | None = None
    studies: Literal["any", "ask"] | tuple[Permitted, ...] = "any"
    hours: tuple[Window, ...] = ()
    contract_days: Annotated[int, Field(ge=1, le=LONGEST_DAYS)] = 180
    rounds_at_most: Limit | None = None
    bytes_per_round_at_most: Limit | None = None
    bytes_per_study_at_most: Limit | None = None
    backbone_bytes_at_most: Limit = 1_000_000_000
    batch_size_at_least: Annotated[int, Field(ge=1, le=4096)] = 2
    steps_at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    peers_at_least: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    patients_at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    patients_per_round_at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    patients_per_step_at_least: Annotated[int, Field(ge=1, le=4096)] = 1
    model_change_at_most: Annotated[float, Field(gt=0, le=1e6)] = 10.0
    metrics: tuple[str, ...] | None = None
    updates_may_be_kept: bool = True
    counts_may_be_told: bool = True
    smallest_cell: Annotated[int, Field(ge=1, le=1_000_000)] = 11
    score_histograms: bool = False
    subgroup_scores: bool = False
    memorisation: bool = False
    require_privacy: bool = False
    private_below_patients: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    budget: BudgetSettings = BudgetSettings()

    @model_validator(mode="after")
    def _privacy_is_bounded(self) -> Self:
        if (self.require_privacy or self.private_below_patients) and self.budget.lifetime_epsilon is None:
            raise ValueError(
                "a policy that requires privacy needs policy.budget.lifetime_epsilon:"
                " without a bound any noise, however weak, would do"
            )
        return self

    def hides(self, study: Study) -> bool:
        """Whether noise stands for the floors: the study is private, and what it costs a patient is bounded here."""
        return study.privacy is not None and self.budget.lifetime_epsilon is not None

    def floors(self) -> dict[str, int]:
        """The lines that say what a round or a study must reach and how much is told, which a contract names."""
        return {key: int(value) for key, value in self if key.endswith("_at_least") or key in _OTHER_FLOORS}

    def line(self, key: str) -> str:
        """A key and its value, as a person reads them."""
        where, held = ("policy", self) if key in type(self).model_fields else ("policy.budget", self.budget)
        value = getattr(held, key)
        return f"{where}.{key} = {str(value).lower() if isinstance(value, bool) else value}"

    def refusal(self, key: str, asked: str, *, code: WireCode = WireCode.POLICY) -> Refusal:
        """The typed no: the coordinator hears the code and the key, this site's console all of it."""
        return Refusal(code, remedy=f"{self.line(key)}; {asked}.", rule=key)


def permit(policy: Policy, study: Study, contract: Contract, *, rehearsed: bool = False) -> Refusal | None:
    """Whether the site takes part, before any image is read; None if it may.

    A study that is `rehearsed` may bear the name of the one that it rehearses.
    """
    name = _REHEARSAL.sub("", study.name) if rehearsed else study.name
    if not isinstance(policy.studies, str) and {name, f"{name}@{study.digest()}"}.isdisjoint(policy.studies):
        return policy.refusal("studies", f"the study is {study.name}@{study.digest()}")
    return next((no for rule in _RULES for no in rule(policy, study, contract)), None)


def permit_patients(policy: Policy, study: Study, *, patients: int) -> Refusal | None:
    """Whether so many patients are enough; None if they are.

    Args:
        policy: the site's.
        study: as the site is asked.
        patients: how many it has for training, or in all if the study trains nothing.
    """
    if policy.hides(study):
        return None
    if patients < policy.private_below_patients and study.study.kind == "train":
        return policy.refusal("private_below_patients", f"there are {patients}, and the study is not private")
    if patients < policy.patients_at_least:
        asked = f"there are {patients} for this study"
        return policy.refusal("patients_at_least", asked, code=WireCode.TOO_FEW_PATIENTS)
    if study.privacy is not None and patients * study.privacy.sampling_rate < policy.batch_size_at_least:
        asked = (
            f"a step draws {patients * study.privacy.sampling_rate:.3g} patients on average, and no budget bounds it"
        )
        return policy.refusal("batch_size_at_least", asked)
    return None


def permit_peers(policy: Policy, opening: Open, *, believed: Collection[str]) -> Refusal | None:
    """Whether enough of the cohort are peers that the site believes in; None if they are."""
    if len(believed) >= policy.peers_at_least:
        return None
    others = max(len(opening.cohort) - 1, 0)
    asked = f"of the {others} others in the cohort {len(believed)} are confirmed here; see `wardround site peers`"
    return policy.refusal("peers_at_least", asked)


def check_federation(policy: Policy, *, federation: str, coordinator: str) -> None:
    """Hold the invitation against the policy.

    Args:
        policy: the site's.
        federation: the name on the invitation.
        coordinator: the fingerprint of the coordinator's key on it.

    Raises:
        ConfigError: the invitation is of another federation, or of another coordinator.
    """
    for key, found in (("federation", federation), ("coordinator", coordinator)):
        if getattr(policy, key) not in (None, found):
            raise ConfigError(
                f"{policy.line(key)}, and this site's invitation says {found}.",
                remedy="Ask the coordinator, by a number that you know; correct site.toml, or join again.",
            )


def _volume(policy: Policy, study: Study, contract: Contract) -> Iterator[Refusal]:
    whole = contract.payload_bytes * contract.rounds
    for key, asked, unit in (
        ("rounds_at_most", contract.rounds, "rounds"),
        ("bytes_per_round_at_most", contract.payload_bytes, "bytes"),
        ("bytes_per_study_at_most", whole, "bytes"),
    ):
        limit = getattr(policy, key)
        if limit is not None and asked > limit:
            yield policy.refusal(key, f"the study asks for {asked} {unit}")


def _work(policy: Policy, study: Study, contract: Contract) -> Iterator[Refusal]:
    """A round without a step leaves the model as it was; where noise hides each patient, the batch need not."""
    training = study.training
    if training is None or not contract.rounds or training.steps_per_round == 0:
        return
    if training.batch_size < policy.batch_size_at_least and not policy.hides(study):
        yield policy.refusal("batch_size_at_least", f"the study asks for {training.batch_size}")
    if training.steps_per_round is not None and training.steps_per_round < policy.steps_at_least:
        yield policy.refusal("steps_at_least", f"the study asks for {training.steps_per_round}")


def _metrics(policy: Policy, study: Study, contract: Contract) -> Iterator[Refusal]:
    if policy.metrics is not None:
        for name in sorted({rule.name for rule in contract.metrics} - set(policy.metrics)):
            yield policy.refusal("metrics", f"the study asks for {name}")


def _keeping(policy: Policy, study: Study, contract: Contract) -> Iterator[Refusal]:
    if not policy.updates_may_be_kept and contract.rounds and study.rounds.keep_updates:
        yield policy.refusal("updates_may_be_kept", "the study keeps every site's updates (rounds.keep_updates)")


def _memorisation(policy: Policy, study: Study, contract: Contract) -> Iterator[Refusal]:
    if study.task.accept_memorisation and not policy.memorisation:
        yield policy.refusal(
            "memorisation", "the model of this study can memorise images of patients and give them back"
        )


def _privacy(policy: Policy, study: Study, contract: Contract) -> Iterator[Refusal]:
    if policy.require_privacy and contract.rounds and study.privacy is None:
        yield policy.refusal("require_privacy", "the study is not private")


_Rule = Callable[[Policy, Study, Contract], Iterator[Refusal]]
_RULES: tuple[_Rule, ...] = (_volume, _work, _metrics, _keeping, _memorisation, _privacy)
