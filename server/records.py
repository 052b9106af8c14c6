"""What the journal of a study can say: one type per kind of entry.

A record's class is the entry's type in snake case (`RoundOpened` -> ``round_opened``) and its fields are
the entry's data. Names, counts, digests and codes only; no free text of a site ever enters.
"""

from textwrap import shorten
from typing import Annotated, Literal

from pydantic import Field

from server.claim import AdmissionReason
from server.ledger_records import HeadsNoted, SiteClosed, TailLost
from server.pooling import How
from server.record import Record
from shared.errors import WardroundError, WireCode
from shared.fields import Digest, Name
from shared.metrics import Score
from shared.rehearsal import Coarse, Findings
from shared.selection import Metric
from shared.survey import Survey
from shared.wire import Count, PolicyKey, Seconds

Text = Annotated[str, Field(max_length=500)]
Split = Literal["train", "validation", "test"]
LINE_LOST = "line_lost"  # a cause


# ------------------------------------------------------------------ the study


class StudyStarted(Record):
    """The study as launched; `start_digest` is the model of round 0."""

    study: Name
    study_digest: Digest
    start_digest: Digest
    cohort: tuple[Name, ...]


class StudyAmended(Record):
    """A signed amendment, whose own SHA-256 is `amendment_digest`, came into force: from one study to the next."""

    number: Count
    amendment_digest: Digest
    previous_digest: Digest
    study_digest: Digest
    rounds: Count
    deadline_s: Annotated[float, Field(gt=0)]


class EpochClaimed(Record):
    """A process took ownership."""

    epoch: Count
    pid: Count


class StudyFinished(Record):
    """All rounds are done; `model_digest` is the final model."""

    model_digest: Digest


class RehearsalOpened(Record):
    """The study is only rehearsed: each site is asked once, and may take so long."""

    epoch: Count
    deadline_s: Annotated[float, Field(gt=0)]


class RehearsalClosed(Record):
    """The rehearsal is over; by site why one did not answer."""

    missing: dict[Name, Text]


class StudyStopped(Record):
    """The coordinator stopped the study."""

    reason: Text


class StudyPaused(Record):
    """The coordinator paused the study; the sites keep it open."""


def reason_of(error: WardroundError) -> str:
    """What happened, as long as a journal takes it: cut between words, so that no site's name is cut."""
    return shorten(error.what, 500, break_on_hyphens=False, placeholder=" \N{HORIZONTAL ELLIPSIS}")


class StudyFailed(Record):
    """The study cannot go on."""

    reason: Text


class TrainingEnded(Record):
    """No further round is run after `round`: all are done, or no model was better than that after `best`."""

    round: Count
    cause: Literal["rounds", "patience"]
    best: Count | None = None


class ModelChosen(Record):
    """The model after `round` (0: the start model) is the final one.

    `candidates` are the models that all sites of `cohort` scored, by the rounds behind them, and `value` is the
    figure of the chosen one, `how` it was made. Unless the cause is `best`, the last one was taken for want of figures.
    """

    round: Count
    model_digest: Digest
    cause: Literal["best", "unscored", "undefined"]
    metric: Metric
    how: How = "pooled"
    value: float | None = None
    cohort: tuple[Name, ...] = ()
    candidates: tuple[Count, ...] = ()


# ------------------------------------------------------------------ a site


class SiteOpened(Record):
    """A site agreed to the study and said what it brings."""

    site: Name
    contract_digest: Digest
    patients: dict[Split, Count]
    examples: dict[Split, Count]
    device: Annotated[str, Field(max_length=64)]
    fell_back: bool = False
    threads: Count
    software: dict[Annotated[str, Field(max_length=32)], Annotated[str, Field(max_length=64)]] = Field(
        default_factory=dict
    )


_OF_BUDGET = ("lifetime_epsilon", "delta")  # keys of [policy.budget] in site.toml


class SiteRefused(Record):
    """A site said no to a message of this round (0: to the study); `rule` is the key of its policy that does."""

    round: Count
    site: Name
    code: WireCode
    rule: PolicyKey | None = None

    @property
    def cause(self) -> str:
        """The code, or the line of the policy, as a word."""
        table = "policy.budget" if self.rule in _OF_BUDGET else "policy"
        return f"{table}.{self.rule}" if self.rule else self.code.value


class SiteHeld(Record):
    """A site said "not yet" at `since` (RFC 3339), and whenever it was asked again, until it opens or refuses."""

    round: Count
    site: Name
    code: WireCode
    since: Annotated[str, Field(max_length=40)]


class SiteLost(Record):
    """A site did not answer."""

    round: Count
    site: Name
    cause: Text


class Scored(Record):
    """A site scored the model it was sent; of splits that it withheld it tells nothing else."""

    site: Name
    model_digest: Digest
    scores: tuple[Score, ...]
    withheld: tuple[Split, ...] = ()


class SiteScored(Scored):
    """The model of the closing trip."""


class SiteValidated(Scored):
    """The model after round `model`, on validation patients alone, in a trip after the last round."""

    model: Count


class OwnModelMade(Record):
    """The model that the last round started from, moved by one site's update (`update_digest`) alone."""

    of: Name
    update_digest: Digest
    model_digest: Digest


class OwnModelScored(Scored):
    """A site's own model, on the validation patients of another or of its own."""

    of: Name


class OwnModelCompared(Record):
    """The trip of a site's own model is over; `missing` says by site why it has not scored it."""

    of: Name
    missing: dict[Name, Text] = Field(default_factory=dict)


class SiteRehearsed(Record):
    """How a site's rehearsal came out; seconds of a round's work there and of the start model's way; its survey."""

    site: Name
    findings: Findings
    work_s: Coarse | None = None
    travel_s: Coarse | None = None
    survey: Survey | None = None


# ------------------------------------------------------------------ a round


class RoundOpened(Record):
    """A round, or a further attempt at it, starts from this model."""

    round: Count
    epoch: Count
    model_digest: Digest
    cohort: tuple[Name, ...]


class UpdateReady(Record):
    """A site reports its work of a round; `seconds` by phase.

    `late_from` names the earlier round whose work it is, and from whose model it started; `withheld` as in `Scored`.
    """

    round: Count
    site: Name
    update_digest: Digest | None
    update_bytes: Count
    examples: int
    patients: int
    steps: int
    replayed: bool
    scores: tuple[Score, ...] = ()
    seconds: Seconds = Field(default_factory=dict)
    late_from: Count | None = None
    withheld: tuple[Split, ...] = ()


class UpdateSpooled(Record):
    """A site's update is whole on the server's disk."""

    round: Count
    site: Name
    update_digest: Digest
    update_bytes: Count


class UpdateAdmitted(Record):
    """A site's update counts, if the round commits; its weight is `examples` times `discount` (below 1 if late)."""

    round: Count
    site: Name
    update_digest: Digest
    examples: Count
    norm: Annotated[float, Field(ge=0)]
    late_from: Count | None = None
    discount: Annotated[float, Field(gt=0, le=1)] = 1.0


class UpdateRefused(Record):
    """Admission refused a site's update; the first reason is the primary one."""

    round: Count
    site: Name
    reasons: Annotated[tuple[AdmissionReason, ...], Field(min_length=1)]
    detail: Text


class RoundCommitted(Record):
    """The round's model is on disk; who counted, and by site why each other one of the cohort did not.

    Late was who worked or had announced an update, absent who never answered, was cut off or removed.
    """

    round: Count
    epoch: Count
    model_digest: Digest
    previous_digest: Digest
    counted: tuple[Name, ...]
    late: dict[Name, Text] = Field(default_factory=dict)
    refused: dict[Name, Text] = Field(default_factory=dict)
    absent: dict[Name, Text] = Field(default_factory=dict)

    @property
    def at_work(self) -> set[str]:
        """Who may finish its work after the round: whoever was late, or was cut off while it worked."""
        return {*self.late, *(site for site, cause in self.absent.items() if cause == LINE_LOST)}


class RoundFailed(Record):
    """Too few sites counted; `missing` says why by site."""

    round: Count
    counted: tuple[Name, ...]
    missing: dict[Name, Text]


RECORDS: dict[str, type[Record]] = {
    record.entry_type(): record
    for record in (
        *(StudyStarted, StudyAmended, EpochClaimed, StudyFinished, StudyStopped, StudyPaused, StudyFailed),
        *(TrainingEnded, ModelChosen),
        *(RehearsalOpened, SiteRehearsed, RehearsalClosed),
        *(SiteOpened, SiteRefused, SiteHeld, SiteLost, SiteScored, SiteValidated, SiteClosed),
        *(HeadsNoted, TailLost),
        *(OwnModelMade, OwnModelScored, OwnModelCompared),
        *(RoundOpened, UpdateReady, UpdateSpooled, UpdateAdmitted, UpdateRefused, RoundCommitted, RoundFailed),
    )
}
