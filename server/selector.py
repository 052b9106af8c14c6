"""Ends the training and chooses the final model, each once: what the journal says already is never decided anew.

Both decisions follow from the journal up to the last committed round, and from the trip after it, alone: a
process that died on the way decides as it would have.
"""

from server.desk import Desk
from server.log import JournalReader
from server.records import ModelChosen, TrainingEnded
from server.report.words import model_after, why_chosen, why_ended
from server.scoreboard import Scoreboard
from server.selection import choose, stalled_since
from shared.remarks import remark
from shared.tasks import task_for


class Selector:
    """The two decisions of one study that its `[selection]` asks for."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._journal = JournalReader(desk.folder.journal, public_key=desk.keys)
        self._board = Scoreboard(task_for(desk.study.task), desk.study.selection.metric)

    def ends_training(self) -> bool:
        """Whether no further round is run; where models are compared, the cause is journalled first."""
        desk, history = self._desk, self._desk.journal.history
        if history.trained is None and desk.study.selection.compares:
            ended = self._ended(history.last_round)
            if ended is not None:
                desk.write(ended)
                desk.say(remark("Training ends: {why}.", why=why_ended(ended), round=history.last_round))
        return history.trained is not None or history.last_round >= desk.study.agreed_rounds

    def choose(self) -> ModelChosen:
        """The final model, chosen now unless it was; journalled before anybody is asked to score it."""
        desk, history = self._desk, self._desk.journal.history
        if history.chosen is not None:
            return history.chosen
        self._board.add(self._journal.entries())
        metric = desk.study.selection.metric
        standing = self._board.standing(through=history.last_round)
        found, cause = choose(standing, metric)
        number = history.last_round if found is None else found
        digest = history.digest_after(number)
        assert digest is not None
        chosen = ModelChosen(
            round=number,
            model_digest=digest,
            cause=cause,
            metric=metric,
            how=standing.how,
            value=standing.figures.get(number),
            cohort=standing.cohort,
            candidates=tuple(standing.figures),
        )
        desk.write(chosen)
        why = {"model": model_after(number), "why": why_chosen(chosen)}
        desk.say(remark("Chosen is {model}: {why}.", round=number, **why))
        return chosen

    def _ended(self, last: int) -> TrainingEnded | None:
        """What ends the training after round `last`: that was the last one, or patience is over."""
        desk = self._desk
        if last >= desk.study.agreed_rounds:
            return TrainingEnded(round=last, cause="rounds")
        self._board.add(self._journal.entries())
        best = stalled_since(self._board.standing(through=last - 1), desk.study.selection)
        return None if best is None else TrainingEnded(round=last, cause="patience", best=best)
