"""How well a model did: integer sufficient statistics that add, and exact figures of one site.

A site releases, per scored split, how many patients fell into each bin of the model's logit, by
class. Such counts add over sites, so that pooled figures need no score of any patient. The bins
are exact powers of two and their subdivisions: the same score falls into the same bin on every
machine, and resolution follows magnitude, so that timid and saturated models are ranked alike.
Which statistics a task gives is decided in `shared.tasks`; what may leave, by the contract.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from shared.fields import Digest
from shared.section import Section
from shared.subgroups import Subgroup

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]
Integers = np.ndarray[Any, np.dtype[np.integer[Any]]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

Statistics = dict[str, tuple[int, ...]]
Thresholds = tuple[float, ...]
Merit = Literal["auroc", "dice", "ssim"]  # the figure by which models of a task are known

MERITS: tuple[Merit, ...] = get_args(Merit)
COARSE_DECIMALS = 2
FIGURE_DECIMALS = 4  # of a site's own figures
LOGIT_LIMIT = 256.0  # logits are clipped to +-this; 2^-111 as a probability
_COUNT_LIMIT = 2.0**40  # of one value of a statistic
_FIRST_OCTAVE, _LAST_OCTAVE, _BINS_PER_OCTAVE = -6, 8, 32  # 2^8 = LOGIT_LIMIT
_Z_95 = 1.959963984540054


def coarse_figures(merit: Merit) -> tuple[str, str, str]:
    """A figure of merit and the ends of its interval."""
    return merit, f"{merit}_low", f"{merit}_high"


COARSE_FIGURES = tuple(name for merit in MERITS for name in coarse_figures(merit))  # all of a score without statistics


class Score(Section):
    """One model scored on one split of one site.

    `statistics` are integer vectors that add over sites; `figures` are this site's own exact
    figures, rounded to 4 decimals. What each may hold is fixed by the task's metric rules. A site whose
    policy releases no fine statistics gives none of them, and `COARSE_FIGURES` to `COARSE_DECIMALS` decimals.
    `subgroups` are of test patients, where the study asks for them and the site's policy tells them.
    """

    model_digest: Digest
    split: Literal["validation", "test"]
    patients: Annotated[int, Field(ge=0, le=2**40)]
    statistics: dict[Annotated[str, Field(max_length=48)], tuple[Annotated[int, Field(ge=0, le=2**40)], ...]]
    figures: dict[Annotated[str, Field(max_length=48)], Annotated[float, Field(ge=-1e6, le=1e6)]]
    subgroups: Annotated[tuple[Subgroup, ...], Field(max_length=64)] = ()


class MetricRule(Section):
    """What one metric in a Score may be; part of the contract.

    Of counts of patients each run of `group` adds up to the patients scored; of sums over patients no value is
    above `per_patient` times their number. Each run of `row` are the patients of one truth.
    """

    name: Annotated[str, Field(max_length=48)]
    kind: Literal["statistic", "figure"]
    length: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    low: float
    high: float
    group: Annotated[int, Field(ge=1)] | None = None
    per_patient: Annotated[float, Field(gt=0)] | None = None
    row: Annotated[int, Field(ge=1)] | None = None

    def holds(self, values: Sequence[int], *, patients: int) -> bool:
        """Whether these are the values of a statistic under this rule."""
        if len(values) != self.length or min(values) < self.low or max(values) > self.high:
            return False
        if self.per_patient is not None and max(values) > self.per_patient * patients:
            return False
        runs = range(0, self.length, self.group) if self.group else ()
        return all(sum(values[start : start + (self.group or 0)]) == patients for start in runs)

    def fewest(self, values: Sequence[int]) -> int | None:
        """How many patients the rarest truth has; None if the values do not tell."""
        if self.row is None:
            return None
        return min(sum(values[start : start + self.row]) for start in range(0, self.length, self.row))


def rules_of(statistics: Mapping[str, Mapping[str, Any]], figures: Mapping[str, float]) -> tuple[MetricRule, ...]:
    """A task's rules: statistics by name, each with what bounds it besides its size, and figures from 0 to so much."""
    counts = (MetricRule(name=k, kind="statistic", low=0, high=_COUNT_LIMIT, **more) for k, more in statistics.items())
    return (*counts, *(MetricRule(name=k, kind="figure", low=0, high=most) for k, most in figures.items()))


class Interval(NamedTuple):
    """An estimate and the two ends of its 95 % interval."""

    value: float
    low: float
    high: float


def _edges() -> Floats:
    step = 2.0**_FIRST_OCTAVE / _BINS_PER_OCTAVE
    inner = np.arange(_BINS_PER_OCTAVE) * step
    parts = [2.0**e * (1 + np.arange(_BINS_PER_OCTAVE) / _BINS_PER_OCTAVE) for e in range(_FIRST_OCTAVE, _LAST_OCTAVE)]
    positive = np.concatenate([inner, *parts, [LOGIT_LIMIT]])
    return np.concatenate([-positive[:0:-1], positive])


EDGES = _edges()  # (BINS + 1,) float64, logit units, 0 among them
BINS = len(EDGES) - 1


# ------------------------------------------------------------------ statistics that add


def add(statistics: Iterable[dict[str, tuple[int, ...]]]) -> dict[str, tuple[int, ...]]:
    """Sum statistics of several sites, vector by vector; nothing gives an empty dict, and an empty one adds nothing.

    Raises:
        ValueError: two sites give different names or lengths.
    """
    given = [item for item in statistics if item]
    lengths = [{name: len(values) for name, values in item.items()} for item in given]
    if any(others != lengths[0] for others in lengths):
        raise ValueError("statistics of different tasks do not add")
    names = lengths[0] if given else {}
    return {name: tuple(map(sum, zip(*(item[name] for item in given), strict=True))) for name in names}


def histogram(logits: Floats, positive: Mask) -> Integers:
    """Patients per bin: (n,) logits and truths to (2, BINS) int64, row 0 negative, row 1 positive."""
    clipped = np.clip(np.asarray(logits, np.float64), -LOGIT_LIMIT, LOGIT_LIMIT)
    bins = np.clip(np.searchsorted(EDGES, clipped, side="right") - 1, 0, BINS - 1)
    return np.stack([np.bincount(bins[positive == side], minlength=BINS) for side in (False, True)])


# ------------------------------------------------------------------ figures of (2, BINS) histograms


def auroc(counts: Integers) -> float | None:
    """Area under the ROC curve of a (2, BINS) histogram, ties as half; None without both classes."""
    parts = _placements(counts)
    return None if parts is None else float(parts[0] @ counts[1] / counts[1].sum())


def auroc_error(counts: Integers) -> float | None:
    """Standard error of `auroc` (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988), scores as binned.

    None without two patients of each class.
    """
    parts = _placements(counts)
    if parts is None or counts.sum(axis=1).min() < 2:
        return None
    by_class = zip(parts, (counts[1], counts[0]), strict=True)
    return float(np.sqrt(sum(_weighted_variance(values, weights) / weights.sum() for values, weights in by_class)))


def auroc_interval(counts: Integers) -> Interval | None:
    """`auroc` with its 95 % normal interval, cut to [0, 1]; None without two patients of each class."""
    value, error = auroc(counts), auroc_error(counts)
    return None if value is None or error is None else interval(value, error)


def interval(value: float, error: float) -> Interval:
    """The 95 % normal interval of a share, cut to [0, 1]."""
    return Interval(value, max(0.0, value - _Z_95 * error), min(1.0, value + _Z_95 * error))


def standard_error(mean: Floats, squares: Floats, patients: Floats) -> Floats:
    """Of means over two patients or more each, from the means of the squares."""
    return np.asarray(np.sqrt(np.maximum(squares - mean**2, 0) / (patients - 1)))


def surety(merit: Merit, value: float, error: float, *, fewest: float) -> dict[str, float]:
    """The figures that say how sure a merit is: standard error, patients that it rests on at least, 95 % interval."""
    _, low, high = interval(value, error)
    return {f"{merit}_error": error, f"{merit}_fewest": fewest, f"{merit}_low": low, f"{merit}_high": high}


def score_of(
    statistics: Mapping[str, NDArray[Any]],
    figures: Mapping[str, float | None],
    *,
    patients: int,
    model_digest: str,
    split: Literal["validation", "test"],
) -> Score:
    """A score of statistics as whole numbers, and of the figures that are defined, to `FIGURE_DECIMALS`."""
    return Score(
        model_digest=model_digest,
        split=split,
        patients=patients,
        statistics=counts_of(statistics),
        figures={name: round(value, FIGURE_DECIMALS) for name, value in figures.items() if value is not None},
    )


def counts_of(statistics: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    """Statistics as a score has them, from arrays of whole numbers."""
    return {name: tuple(values.reshape(-1).astype(np.int64).tolist()) for name, values in statistics.items()}


def youden_threshold(counts: Integers) -> float | None:
    """The logit at or above which a patient is best called positive (Youden's J, Cancer 3, 1950).

    It is an edge of the bins, so that applying it to another histogram is exact. Of equal
    thresholds the one nearest to 0 is taken. None without both classes.
    """
    if counts.sum(axis=1).min() == 0:
        return None
    below = np.concatenate([np.zeros((2, 1), np.int64), np.cumsum(counts, axis=1)], axis=1)
    negatives, positives = (int(n) for n in counts.sum(axis=1))
    gain = below[0] * positives - below[1] * negatives  # J x negatives x positives, exact in integers
    best = np.flatnonzero(gain == gain.max())
    return float(EDGES[best[np.argmin(np.abs(EDGES[best]))]])


def confusion_at(counts: Integers, threshold: float) -> Integers:
    """(2, 2) patients by truth and call, from a (2, BINS) histogram and an edge of the bins."""
    cut = int(np.searchsorted(EDGES, threshold))
    return np.stack([counts[:, :cut].sum(axis=1), counts[:, cut:].sum(axis=1)], axis=1)


def _placements(counts: Integers) -> tuple[Floats, Floats] | None:
    negatives, positives = counts.sum(axis=1)
    if negatives == 0 or positives == 0:
        return None
    below = (np.cumsum(counts, axis=1) - counts / 2) / np.array([[negatives], [positives]])
    return below[0], 1 - below[1]  # of a positive, of a negative, in each bin


def _weighted_variance(values: Floats, weights: Integers) -> float:
    total = weights.sum()
    mean = values @ weights / total
    return float(((values - mean) ** 2) @ weights / (total - 1))


# ------------------------------------------------------------------ figures of confusion matrices


def accuracy(confusion: Integers) -> float | None:
    """Share of patients called right, from (classes, classes) counts by truth and call; None if empty."""
    total = confusion.sum()
    return None if total == 0 else float(np.trace(confusion) / total)


def balanced_accuracy(confusion: Integers) -> float | None:
    """Mean over classes of the share called right; None if a class has no patient."""
    per_class = confusion.sum(axis=1)
    return None if per_class.min() == 0 else float(np.mean(np.diagonal(confusion) / per_class))


# ------------------------------------------------------------------ exact figures of raw scores


def auroc_exact(scores: Floats, positive: Mask) -> float | None:
    """Area under the ROC curve of (n,) raw scores, ties as half; None without both classes."""
    value = float(Ranking(scores, positive).auroc(np.ones((1, len(scores))))[0])
    return None if np.isnan(value) else value


class Ranking:
    """Patients in the order of their scores, ready for AUROC under many weightings.

    Args:
        scores: (n,) one per patient.
        positive: (n,) bool truth.
    """

    def __init__(self, scores: Floats, positive: Mask) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = np.asarray(scores)[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(ordered)])
        self._positive = np.asarray(positive, bool)[self._order]

    def auroc(self, weights: Floats) -> Floats:
        """(k, n) weights of the patients to (k,) areas; NaN where a class has no weight."""
        ordered = weights[:, self._order]
        if not len(self._starts):
            return np.full(len(weights), np.nan)
        positives = np.add.reduceat(ordered * self._positive, self._starts, axis=1)
        negatives = np.add.reduceat(ordered * ~self._positive, self._starts, axis=1)
        won = (positives * (np.cumsum(negatives, axis=1) - negatives / 2)).sum(axis=1)
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return np.where(pairs > 0, won / np.maximum(pairs, 1), np.nan)
