"""How a classifier's output is read: the calibration, and the operating point, both from statistics that add.

Fitted on the pooled validation patients of the sites that release statistics, and held against the pooled test
patients of those. Where no site releases any, the output is told as it is, and that is said.
"""

from collections.abc import Iterator

import numpy as np

from server.report.scores import NOBODY, UNRELEASED, Scores
from shared import metrics
from shared.calibration import FEWEST, Scaling, agreement, fit_scaling, probabilities, reliability
from shared.metrics import BINS, Integers, Interval, Statistics
from shared.model_card import AtCut, Calibration, CalibrationBin, ClassCalibration, Figure, Operating
from shared.operating import Performance, cut_at_specificity, performance_at, wilson
from shared.study import TaskSpec
from shared.tasks import task_for

TOLD = (0.8, 0.9, 0.95)  # specificities at which sensitivity is told
NO_TEST = "no test patients, or fewer than are told"


class Reading:
    """One model's statistics on validation and on test patients.

    Args:
        spec: a task of classification.
        validation, test: scores by site, as the sites told them.
        smallest: the least count of patients that is told.
    """

    def __init__(self, spec: TaskSpec, validation: Scores, test: Scores, *, smallest: int) -> None:
        self._spec, self._smallest = spec, smallest
        self._validation, self._test = (_added(scores) for scores in (validation, test))
        self._choosing, self._told = _histograms(spec, self._validation), _histograms(spec, self._test)
        self._why = UNRELEASED if validation else NOBODY

    def calibration(self) -> Calibration:
        """Platt's scaling of each class, or why there is none."""
        if self._choosing is None:
            return Calibration(kind="none", why=self._why)
        found = {name: fit_scaling(counts) for name, counts in zip(self._spec.classes, self._choosing, strict=True)}
        scalings = {name: scaling for name, scaling in found.items() if scaling is not None}
        if missing := found.keys() - scalings.keys():
            why = f"fewer than {FEWEST} validation patients with and without it, or scores that do not rise with it"
            return Calibration(kind="none", why=f"{', '.join(sorted(missing))}: {why}")
        classes = tuple(self._class(number, name, scalings[name]) for number, name in enumerate(self._spec.classes))
        return Calibration(kind="platt", patients=int(self._choosing[0].sum()), classes=classes)

    def operating(self, calibration: Calibration, *, specificity: float | None) -> Operating:
        """When a patient is called positive.

        Args:
            calibration: what a cut's probability is told by.
            specificity: that the validation patients are to have; None takes Youden's cut.
        """
        told = {
            f"{share:g}": self._at(self._specific(share), calibration) for share in TOLD if self._choosing is not None
        }
        if self._spec.mode == "multiclass":
            words = "The likeliest class is called."
            return Operating(rule="likeliest", words=words, at=self._likeliest(), at_specificity=told)
        cuts = self._cuts(specificity)
        if cuts is None:
            why = self._why if self._choosing is None else "not every class is present among the validation patients"
            words = "A class is called where the network's own probability is at least 0.5; no threshold was chosen."
            at = self._at((0.0,) * self._spec.outputs, calibration)
            return Operating(rule="half", words=words, at=at, at_specificity=told, why=why)
        if specificity is None:
            words = "Youden's threshold on pooled validation patients: sensitivity and specificity weigh alike."
            return Operating(rule="youden", words=words, at=self._at(cuts, calibration), at_specificity=told)
        words = f"The lowest threshold at which pooled validation patients have a specificity of {specificity:g}."
        return Operating(rule="specificity", words=words, at=self._at(cuts, calibration), at_specificity=told)

    def _class(self, number: int, name: str, scaling: Scaling) -> ClassCalibration:
        if self._told is None:
            return ClassCalibration(name=name, scaling=scaling)
        counts = self._told[number]
        before, after = agreement(counts, None), agreement(counts, scaling)
        bins = reliability(counts, scaling, fewest=self._smallest)
        return ClassCalibration(
            name=name,
            scaling=scaling,
            slope=after.slope,
            offset=after.offset,
            error=after.error,
            error_before=before.error,
            bins=tuple(CalibrationBin(**one._asdict()) for one in bins),
        )

    def _cuts(self, specificity: float | None) -> tuple[float, ...] | None:
        if specificity is not None:
            return self._specific(specificity)
        return task_for(self._spec).thresholds(self._validation)

    def _specific(self, share: float) -> tuple[float, ...] | None:
        cuts = [cut_at_specificity(counts, share) for counts in self._choosing] if self._choosing is not None else []
        return tuple(cut for cut in cuts if cut is not None) if cuts and None not in cuts else None

    def _at(self, cuts: tuple[float, ...] | None, calibration: Calibration) -> tuple[AtCut, ...]:
        if cuts is None:
            return ()
        exclusive = self._spec.mode == "multiclass"  # of one class alone there is no share of all
        shares = None if exclusive else probabilities(np.array([cuts]), calibration.scalings, exclusive=False)[0]
        return tuple(
            _at_cut(name, cut, None if shares is None else float(shares[n]), self._performance(n, cut))
            for n, (name, cut) in enumerate(zip(self._spec.classes, cuts, strict=True))
        )

    def _performance(self, number: int, cut: float) -> Performance:
        if self._told is None:
            return Performance(None, None)
        negatives, positives = self._told[number].sum(axis=1)
        found = performance_at(self._told[number], cut)
        return self._without_few(found, positives=int(positives), negatives=int(negatives))

    def _without_few(self, found: Performance, *, positives: int, negatives: int) -> Performance:
        """Shares of few patients would tell how many they are."""
        return Performance(
            found.sensitivity if positives >= self._smallest else None,
            found.specificity if negatives >= self._smallest else None,
        )

    def _likeliest(self) -> tuple[AtCut, ...]:
        return tuple(_at_cut(name, None, None, done) for name, done in self._called())

    def _called(self) -> Iterator[tuple[str, Performance]]:
        """By class, what calling the likeliest does, from the (classes, classes) counts by truth and call."""
        n = self._spec.outputs
        counts = np.array(self._test.get("confusion", (0,) * n * n), np.int64).reshape(n, n)
        for number, name in enumerate(self._spec.classes):
            right, truly, called = (
                int(c) for c in (counts[number, number], counts[number].sum(), counts[:, number].sum())
            )
            others = int(counts.sum()) - truly
            found = Performance(wilson(right, truly), wilson(others - (called - right), others))
            yield name, self._without_few(found, positives=truly, negatives=others)


def _added(scores: Scores) -> Statistics:
    return metrics.add(score.statistics for score in scores.values())


def _histograms(spec: TaskSpec, statistics: Statistics) -> Integers | None:
    """(classes, 2, BINS), or None where no site releases any."""
    if not statistics:
        return None
    return np.array(statistics["histogram"], np.int64).reshape(spec.outputs, 2, BINS)


def _at_cut(name: str, cut: float | None, probability: float | None, done: Performance) -> AtCut:
    sensitivity, specificity = _figure(done.sensitivity), _figure(done.specificity)
    return AtCut(name=name, cut=cut, probability=probability, sensitivity=sensitivity, specificity=specificity)


def _figure(found: Interval | None) -> Figure:
    return Figure(why=NO_TEST) if found is None else Figure(value=found.value, low=found.low, high=found.high)
