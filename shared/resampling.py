"""Intervals of exact figures: patients are drawn again within each site.

A figure is a function of the patients' weights: (k, n) weights give (k,) values, NaN where it is not
defined. So one draw serves every figure, and two models are compared on the very same draws. The interval
is the percentile bootstrap (Efron and Tibshirani 1993, chapter 13), stratified by site.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from shared.metrics import Floats, Integers, Interval, Mask, Ranking

Figure = Callable[[Floats], Floats]
_AT_A_TIME = 100  # resamples; bounds memory


def macro_auroc(scores: Floats, positive: Mask) -> Figure | None:
    """AUROC, of several classes the mean over those that have patients of both kinds (one-vs-rest).

    Args:
        scores: (n,) one score per patient, or (n, classes).
        positive: (n,) or (n, classes) bool truth.

    Returns:
        None if no class has patients of both kinds.
    """
    pairs = zip(_columns(scores), _columns(positive), strict=True)
    rankings = [Ranking(s, p) for s, p in pairs if p.any() and not p.all()]
    if not rankings:
        return None
    return lambda weights: np.asarray(np.mean([ranking.auroc(weights) for ranking in rankings], axis=0))


def balanced_accuracy(margins: Floats, positive: Mask) -> Figure | None:
    """Mean over the classes of the share of their patients that is called right.

    Args:
        margins: (n,) or (n, 1) logits, called positive from 0 on; or (n, classes), the largest is called.
        positive: the truth in the same shape, bool; of several classes exactly one is true.

    Returns:
        None if a class has no patient.
    """
    truth, called = _columns(positive), _columns(margins)
    if len(truth) == 1:
        truth, calls = np.concatenate([truth, ~truth]), np.concatenate([called >= 0, called < 0])
    else:
        calls = called.argmax(axis=0) == np.arange(len(truth))[:, None]
    if not truth.any(axis=1).all():
        return None
    right = truth & calls

    def figure(weights: Floats) -> Floats:
        members = weights @ truth.T
        shares = np.divide(weights @ right.T, members, out=np.full(members.shape, np.nan), where=members > 0)
        return np.asarray(shares.mean(axis=1))

    return figure


def mean_share(values: Floats) -> Figure | None:
    """Mean over patients, and then over columns.

    Args:
        values: (n, columns), NaN where a patient has none.

    Returns:
        None if a column has no value.
    """
    known = ~np.isnan(values)
    if not known.any(axis=0).all():
        return None
    return lambda weights: np.asarray((weights @ np.nan_to_num(values) / (weights @ known)).mean(axis=1))


def bootstrap_interval(
    figure: Figure | None, sites: Sequence[Any] | Integers, *, rng: np.random.Generator, draws: int = 2000
) -> Interval | None:
    """A figure with its 95 % interval; None of none.

    Args:
        figure: of n patients.
        sites: (n,) the site of each patient; the strata.
        rng: decides the draws.
        draws: how many resamples; those in which the figure is not defined are left out.
    """
    if figure is None:
        return None
    resampled = np.concatenate([figure(weights) for weights in _resamples(sites, rng=rng, draws=draws)])
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Interval(float(figure(np.ones((1, len(sites))))[0]), float(low), float(high))


def difference(first: Figure | None, second: Figure | None) -> Figure | None:
    """What `first` has more than `second` on the same patients; None if one of them is."""
    if first is None or second is None:
        return None
    return lambda weights: first(weights) - second(weights)


def _columns(values: Any) -> Any:
    """(n,) or (n, classes) to (classes, n)."""
    array = np.asarray(values)
    return array.reshape(len(array), array.shape[1] if array.ndim > 1 else 1).T


def _resamples(sites: Sequence[Any] | Integers, *, rng: np.random.Generator, draws: int) -> Iterable[Floats]:
    """(k, n) how often each patient is drawn, a site's patients as often as it has some."""
    strata = [np.flatnonzero(np.asarray(sites) == site) for site in np.unique(np.asarray(sites))]
    for start in range(0, draws, _AT_A_TIME):
        weights = np.zeros((min(_AT_A_TIME, draws - start), len(sites)))
        for members in strata:
            weights[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), len(weights))
        yield weights
