"""The trips after the last round: which model is scored in each, and under which number.

    validation   the last model, on validation patients, so that the best can be chosen
    comparison   each site's own model, on validation patients, if the study asks for it
    closing      the final model, on validation and test patients

The numbers follow from the study alone (`Study.closing_number`), whatever was skipped, so that a site is
never asked for two models under one. A comparison costs no study its end: a site that is away, or says no,
is named in the journal, and the others' scores stand.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from server.answers import scored_after_rounds, scored_at_closing, scored_own
from server.checkpoint import Checkpoints
from server.desk import Desk
from server.launch import START_MODEL
from server.own_models import make_own_model
from server.record import Record
from server.records import OwnModelCompared
from server.rounds import Closing
from server.selector import Selector
from shared.address import Stage
from shared.remarks import remark
from shared.wire import Ready


@dataclass(frozen=True)
class Trip:
    """A model that the sites are to score.

    Attributes:
        previous: digest of the model under the number before; None if there was none.
        record: what is journalled of an answer.
        needed: whether the study cannot go on without the scores of a quorum.
    """

    stage: Stage
    number: int
    model: Path
    digest: str
    previous: str | None
    record: Callable[[str, Ready], Record]
    needed: bool = True


class Trips:
    """What is scored after the rounds of one study.

    Args:
        desk: the study's parts.
        checkpoints: where the global models lie.
        selector: chooses the final model.
        score: sends a trip to the sites and takes their scores in.
    """

    def __init__(
        self, desk: Desk, checkpoints: Checkpoints, selector: Selector, *, score: Callable[[Trip], Closing]
    ) -> None:
        self._desk = desk
        self._history = desk.journal.history
        self._checkpoints = checkpoints
        self._selector = selector
        self._score = score

    def run(self) -> None:
        """Every trip that was not made before, the closing one last."""
        desk = self._desk
        if desk.study.selection.model == "best":
            self._choose()
        for of in desk.study.cross_sites:
            if of not in self._history.compared:
                self._compare(of)
        for of in desk.study.cross_sites:
            self._own_path(of).unlink(missing_ok=True)
        desk.spool.forget_before(self._history.last_round + 1)
        self._score(self._of_round(Stage.EVALUATE, desk.study.closing_number, self._history.final_round))

    def model(self, number: int) -> Path:
        """The model after a committed round, or the start model (0)."""
        return self._checkpoints.model(number) if number else self._desk.folder.path / START_MODEL

    def digest_before(self, number: int) -> str | None:
        """The model under the number before: of the round, or of the trip."""
        study, history = self._desk.study, self._history
        if number <= study.agreed_rounds + 1:
            return history.commits[-1].previous_digest if history.commits else None
        place = number - study.closing_number + len(study.cross_sites) - 1
        return history.own_models.get(study.cross_sites[place]) if place >= 0 else history.model_digest

    def _choose(self) -> None:
        """Have the last model scored as all before it were, and take the best of them; once."""
        last = self._history.last_round
        if self._history.chosen is None:
            record = partial(scored_after_rounds, model=last)
            self._score(self._of_round(Stage.VALIDATE, self._desk.study.agreed_rounds + 1, last, record))
        chosen = self._selector.choose()
        self._checkpoints.insist(chosen.round, chosen.model_digest)
        self._checkpoints.prune(last, keep=(chosen.round,))

    def _compare(self, of: str) -> None:
        """Have one site's own model scored by everybody."""
        desk, study, last = self._desk, self._desk.study, self._history.last_round
        if not make_own_model(desk, of, start=self.model(last - 1), target=self._own_path(of)):
            out = "{site} did not count in the last round: its own model is not compared."
            desk.say(remark(out, level="warning", site=of, round=last))
            return
        number = study.closing_number - len(study.cross_sites) + study.cross_sites.index(of)
        record, digest = partial(scored_own, of=of), self._history.own_models[of]
        before = self.digest_before(number)
        closing = self._score(Trip(Stage.VALIDATE, number, self._own_path(of), digest, before, record, needed=False))
        desk.write(OwnModelCompared(of=of, missing=closing.missing))

    def _own_path(self, of: str) -> Path:
        """Each has its own name: a link takes a file for what it was when it was first sent."""
        return self._desk.folder.path / START_MODEL.with_name(f"own-{of}.safetensors")

    def _of_round(
        self, stage: Stage, number: int, of: int, record: Callable[[str, Ready], Record] = scored_at_closing
    ) -> Trip:
        digest = self._history.digest_after(of)
        assert digest is not None
        return Trip(stage, number, self.model(of), digest, self.digest_before(number), record)
