"""What a study asks about its final model: the last one or the best, and when further rounds are not worth running.

The keys and which other keys they go with; how models are compared is `server/selection.py`'s.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shared.section import Section

Metric = Literal["auroc", "balanced_accuracy", "loss", "dice", "ssim"]


class SelectionSpec(Section):
    """Which of the models that the rounds made is the final one, judged on the pooled validation patients.

    Training ends early once `patience_rounds` models in a row were not better by more than `min_gain` than
    the best before them; None runs all rounds. Of `loss` less is better, of the others more. Models that segment are
    compared by `dice` unless it is said, or by `loss`; those that draw by `ssim`, others by `auroc`.

    With `cross_site` each site's own model of the last round is sent to every site and scored there.
    """

    model: Literal["last", "best"] = "last"
    metric: Metric = "auroc"
    patience_rounds: Annotated[int, Field(ge=1, le=100_000)] | None = None
    min_gain: Annotated[float, Field(ge=0, le=10)] = 0.0
    cross_site: bool = False

    @model_validator(mode="after")
    def _gain_has_patience(self) -> Self:
        if self.min_gain and self.patience_rounds is None:
            raise ValueError("min_gain goes with patience_rounds: the best model is the best, by however little")
        return self

    @property
    def compares(self) -> bool:
        """Whether models are compared, so that the end of the training is written down."""
        return self.model == "best" or self.patience_rounds is not None or self.cross_site


def selection_fault(spec: SelectionSpec, *, kind: str, algorithm: str | None, sampled: bool, named: bool) -> str | None:
    """Why a study cannot select so, in words; None if it can.

    Args:
        spec: what is asked.
        kind: the study's.
        algorithm: how it trains, if it does.
        sampled: whether each round asks other sites.
        named: whether the study names its sites.
    """
    if not spec.compares:
        return None
    if kind == "evaluate":
        return "a study of kind evaluate has one model: [selection] has nothing to select from"
    if sampled:
        return "rounds.sample has each model scored by other sites, so that [selection] could not compare them"
    if spec.model == "best" and algorithm == "fedbn":
        return (
            "fedbn goes with selection.model = last: each site keeps the norm layers of its last round,"
            " which do not belong to an earlier model"
        )
    return _cross_site_fault(algorithm, named=named) if spec.cross_site else None


def _cross_site_fault(algorithm: str | None, *, named: bool) -> str | None:
    if not named:
        return "cross_site needs rounds.sites, so that every site's contract says whose models are sent to the others"
    if algorithm == "fedbn":
        return "cross_site does not go with fedbn: without its norm layers, which stay at a site, its model is none"
    return None
