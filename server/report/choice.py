"""Which model is the final one, why no more rounds were run, and by whose patients that was decided."""

from dataclasses import dataclass

from server.history import LiveHistory
from server.pooling import How
from server.report.words import METRICS, model_after, why_chosen, why_ended


@dataclass(frozen=True)
class Choice:
    """What was decided of the final model.

    Attributes:
        stopped: why training ended before the last round; None if it did not.
        round: rounds behind the chosen model, 0 for the start model; None if none was chosen (yet).
        why: why it was chosen, in words.
        metric: the figure that decided, by its key in the study file, `how` it was made over the sites, and `value`,
            that of the chosen model.
        cohort: the sites that scored all of `candidates`, which are models by the rounds behind them.
    """

    stopped: str | None
    round: int | None = None
    why: str | None = None
    metric: str | None = None
    how: How | None = None
    value: float | None = None
    cohort: tuple[str, ...] = ()
    candidates: tuple[int, ...] = ()

    @property
    def model(self) -> str:
        """The chosen model in words."""
        return "" if self.round is None else model_after(self.round)

    @property
    def metric_name(self) -> str:
        """The figure that decided, as people call it."""
        return METRICS.get(self.metric or "", "")


def choice_of(history: LiveHistory) -> Choice | None:
    """What the journal says of it; None if nothing was decided, because nothing was to be."""
    ended, chosen = history.trained, history.chosen
    stopped = why_ended(ended) if ended and ended.cause == "patience" else None
    if chosen is None:
        return Choice(stopped) if stopped else None
    return Choice(
        stopped=stopped,
        round=chosen.round,
        why=why_chosen(chosen),
        metric=chosen.metric,
        how=chosen.how,
        value=chosen.value,
        cohort=chosen.cohort,
        candidates=chosen.candidates,
    )
