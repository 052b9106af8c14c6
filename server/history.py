"""The history of a study: what the records of its journal, in order, add up to.

A pure replay, in two extents: `LiveHistory` is what a conductor goes on from, `StudyHistory` keeps what
every site reported, for the report. It decides only whether a record can follow those before it (rounds
count up by one, the models form one chain). What to do next is decided by the rounds.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from server.claim import Declared
from server.ledger_records import HeadsNoted, SiteClosed, TailLost
from server.norms import NormHistory, Norms
from server.record import Record
from server.records import (
    EpochClaimed,
    ModelChosen,
    OwnModelCompared,
    OwnModelMade,
    OwnModelScored,
    RehearsalClosed,
    RoundCommitted,
    RoundFailed,
    RoundOpened,
    SiteHeld,
    SiteLost,
    SiteOpened,
    SiteRefused,
    SiteRehearsed,
    SiteScored,
    SiteValidated,
    StudyAmended,
    StudyFailed,
    StudyFinished,
    StudyStarted,
    StudyStopped,
    TrainingEnded,
    UpdateAdmitted,
    UpdateReady,
    UpdateRefused,
)
from shared.errors import TrustError
from shared.heads import MOST_LOST, Head, Losses

Ended = StudyFinished | StudyStopped | StudyFailed


@dataclass
class LiveHistory:
    """Everything that a conductor, a resume and the status need to know.

    Attributes:
        started: the study as launched; None while the journal is empty.
        amended: the last amendment that came into force, if any.
        epoch: the highest epoch claimed.
        opened: by site, its last word on the study.
        declared: by site, the training examples and patients that it declared there.
        held: by site, since when it says "not yet", and why.
        commits: the committed rounds, round 1 first.
        norms: admitted norms of the last committed rounds.
        norms_of: of every committed round, round 1 first.
        seen: by site, digests of its updates that counted and were not zero; see `Expected.seen`.
        pending: by site, what was admitted in the round that is not committed yet.
        before: by site, what earlier owners had admitted in that round, until it is committed.
        asked: the round that was opened last, and its cohort.
        worked: by site, the last round that it worked in, and the digest of the update that it announced
            there; None if the round closed before it announced one.
        announced: by site, its last report of an update.
        trained: after which round no other is run, and why, if that was decided.
        chosen: the final model, if it was chosen.
        last_counted: by site, its update that counted in the last committed round.
        own_models: by site, the digest of its own model, if one was made.
        compared: sites whose own model was scored by whoever would.
        ended: how the study ended, if it did.
        rehearsed: by site, its word on the rehearsal, if it is one.
        missing: by site, why it gave none; None before the rehearsal is over.
        heads: of the sites' ledgers, as they were noted last.
        lost: by site, what it has declared lost of its ledger.
    """

    started: StudyStarted | None = None
    amended: StudyAmended | None = None
    epoch: int = 0
    opened: dict[str, SiteOpened] = field(default_factory=dict)
    declared: dict[str, Declared] = field(default_factory=dict)
    held: dict[str, SiteHeld] = field(default_factory=dict)
    commits: list[RoundCommitted] = field(default_factory=list)
    norms: NormHistory = field(default_factory=NormHistory)
    norms_of: list[Norms] = field(default_factory=list)
    seen: dict[str, set[str]] = field(default_factory=dict)
    pending: dict[str, UpdateAdmitted] = field(default_factory=dict)
    before: dict[str, UpdateAdmitted] = field(default_factory=dict)
    asked: tuple[int, tuple[str, ...]] = (0, ())
    worked: dict[str, tuple[int, str | None]] = field(default_factory=dict)
    announced: dict[str, UpdateReady] = field(default_factory=dict)
    trained: TrainingEnded | None = None
    chosen: ModelChosen | None = None
    last_counted: dict[str, UpdateAdmitted] = field(default_factory=dict)
    own_models: dict[str, str] = field(default_factory=dict)
    compared: dict[str, OwnModelCompared] = field(default_factory=dict)
    ended: Ended | None = None
    rehearsed: dict[str, SiteRehearsed] = field(default_factory=dict)
    missing: dict[str, str] | None = None
    heads: dict[str, Head] = field(default_factory=dict)
    lost: dict[str, Losses] = field(default_factory=dict)

    @classmethod
    def replay(cls, records: Iterable[Record]) -> Self:
        """The history that these records tell; raises as `apply`."""
        history = cls()
        for record in records:
            history.apply(record)
        return history

    @property
    def last_round(self) -> int:
        """The last committed round; 0 before the first."""
        return len(self.commits)

    @property
    def model_digest(self) -> str | None:
        """Digest of the last committed model, or of the start model; None before the study started."""
        return self.digest_after(self.last_round)

    @property
    def final_round(self) -> int:
        """How many rounds are behind the final model: the chosen one, or the last as long as none is chosen."""
        return self.chosen.round if self.chosen else self.last_round

    @property
    def final_digest(self) -> str | None:
        """Digest of the final model; None before the study started."""
        return self.digest_after(self.final_round)

    def digest_after(self, number: int) -> str | None:
        """Digest of the model after so many rounds, 0 being the start model; None if it is not there."""
        if number:
            return self.commits[number - 1].model_digest if number <= self.last_round else None
        return self.started.start_digest if self.started else None

    @property
    def study_digest(self) -> str | None:
        """Digest of the study as it is asked now; None before it started."""
        if self.amended:
            return self.amended.study_digest
        return self.started.study_digest if self.started else None

    def counted_round(self, site: str) -> int:
        """The last committed round in which a site counted; 0 if there is none."""
        return next((commit.round for commit in reversed(self.commits) if site in commit.counted), 0)

    def check(self, record: Record) -> None:
        """Whether a record can come next.

        Raises:
            TrustError: it contradicts what is there.
        """
        if not self._follows(record):
            raise TrustError(
                "An entry of the study's journal contradicts those before it.",
                remedy="Restore the study's folder from backup; do not edit its journal.",
            )

    def apply(self, record: Record) -> None:
        """Add one record; raises as `check`."""
        self.check(record)
        match record:
            case StudyStarted():
                self.started = record
            case StudyAmended():
                self.amended = record
            case EpochClaimed():
                self._claim(record)
            case RoundOpened():
                self.before |= self.pending
                self.pending, self.asked = {}, (record.round, record.cohort)
            case UpdateAdmitted():
                self.pending[record.site] = record
            case RoundCommitted():
                self._commit(record)
            case SiteOpened() | SiteHeld() | SiteRefused():
                self._hear(record)
            case SiteRehearsed() | RehearsalClosed():
                self._rehearse(record)
            case HeadsNoted() | TailLost():
                self._note(record)
            case UpdateReady() if record.update_digest:
                self.worked[record.site] = (record.round, record.update_digest)
                self.announced[record.site] = record
            case StudyFinished() | StudyStopped() | StudyFailed():
                self.ended = record
            case _:
                self._end_training(record)

    def _end_training(self, record: Record) -> None:
        match record:
            case TrainingEnded():
                self.trained = record
            case ModelChosen():
                self.chosen = record
            case OwnModelMade():
                self.own_models[record.of] = record.model_digest
            case OwnModelCompared():
                self.compared[record.of] = record

    def _hear(self, record: SiteOpened | SiteHeld | SiteRefused) -> None:
        self.held.pop(record.site, None)
        if isinstance(record, SiteOpened):
            self.opened[record.site] = record
            examples, patients = record.examples.get("train", 0), record.patients.get("train", 0)
            self.declared[record.site] = Declared(examples=examples, patients=patients)
        elif isinstance(record, SiteHeld):
            self.held[record.site] = record

    def _note(self, record: HeadsNoted | TailLost) -> None:
        if isinstance(record, HeadsNoted):
            self.heads = dict(record.heads)
            return
        self.lost[record.site] = (*self.lost.get(record.site, ()), record.lost)[-MOST_LOST:]
        if record.held is not None and record.lost.covers(record.held):
            self.heads.pop(record.site, None)

    def _rehearse(self, record: SiteRehearsed | RehearsalClosed) -> None:
        if isinstance(record, SiteRehearsed):
            self.rehearsed[record.site] = record
        else:
            self.missing = record.missing

    def _follows(self, record: Record) -> bool:
        match record:
            case StudyStarted():
                return self.started is None
            case EpochClaimed():
                return record.epoch > self.epoch
            case RoundOpened():
                here = (record.round, record.model_digest) == (self.last_round + 1, self.model_digest)
                return here and self.trained is None
            case UpdateAdmitted():
                return record.round == self.last_round + 1 and record.site not in self.pending
            case RoundCommitted():
                here = (record.round, record.previous_digest) == (self.last_round + 1, self.model_digest)
                return here and set(record.counted) <= self.pending.keys()
        return self._decided(record)

    def _decided(self, record: Record) -> bool:
        """Of what is decided on the way, whether it can be decided now; anything else can come at any time."""
        match record:
            case StudyAmended():
                number = self.amended.number if self.amended else 0
                here = (record.number, record.previous_digest) == (number + 1, self.study_digest)
                return here and self.trained is None
            case TrainingEnded():
                return self.trained is None and record.round == self.last_round
            case ModelChosen():
                known = record.model_digest == self.digest_after(record.round)
                return known and self.chosen is None and self.trained is not None
            case OwnModelMade():
                return self.trained is not None and record.of not in self.own_models
        return True

    def _claim(self, record: EpochClaimed) -> None:
        self.epoch = record.epoch
        if not isinstance(self.ended, StudyFinished):  # what was stopped or failed goes on under its next owner
            self.ended = None

    def _commit(self, record: RoundCommitted) -> None:
        counted = [self.pending[site] for site in record.counted]
        self.commits.append(record)
        self.norms_of.append(tuple(update.norm for update in counted))
        self.norms = self.norms.after(self.norms_of[-1])
        for update in counted:
            if update.norm > 0:
                self.seen.setdefault(update.site, set()).add(update.update_digest)
        self.pending, self.before = {}, {}
        self.last_counted = {update.site: update for update in counted}
        for site in record.at_work | record.refused.keys():
            if self.worked.get(site, (0, None))[0] < record.round:
                self.worked[site] = (record.round, None)


@dataclass
class StudyHistory(LiveHistory):
    """Everything that the report needs besides.

    Attributes:
        readies, refusals, losses, failures: as they were written, all rounds.
        validated: by site, from the trip that scored the last model.
        own_scores: every site's scores of every site's own model.
        scored, closed: by site, from the closing trip.
    """

    readies: list[UpdateReady] = field(default_factory=list)
    refusals: list[UpdateRefused | SiteRefused] = field(default_factory=list)
    losses: list[SiteLost] = field(default_factory=list)
    failures: list[RoundFailed] = field(default_factory=list)
    validated: dict[str, SiteValidated] = field(default_factory=dict)
    own_scores: list[OwnModelScored] = field(default_factory=list)
    scored: dict[str, SiteScored] = field(default_factory=dict)
    closed: dict[str, SiteClosed] = field(default_factory=dict)

    def apply(self, record: Record) -> None:
        """Add one record; raises as `check`."""
        super().apply(record)
        match record:
            case SiteScored():
                self.scored[record.site] = record
            case SiteValidated():
                self.validated[record.site] = record
            case OwnModelScored():
                self.own_scores.append(record)
            case SiteClosed():
                self.closed[record.site] = record
            case UpdateReady():
                self.readies.append(record)
            case UpdateRefused() | SiteRefused():
                self.refusals.append(record)
            case SiteLost():
                self.losses.append(record)
            case RoundFailed():
                self.failures.append(record)
