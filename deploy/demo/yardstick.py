"""By which figures a demo compares models: classifiers by AUROC and balanced accuracy, those that segment by Dice,
those that count pieces by F1, too, and those that draw by SSIM.

The AUROC of several classes is the macro mean one-vs-rest, as in the report; it then stands under
`macro_auroc` too, so that nobody takes it for the AUROC of one class.
"""

from collections.abc import Callable, Sequence

from shared.classification import Classification
from shared.generation import Generation
from shared.instances import CountedSegmentation
from shared.metrics import Floats, Integers, Interval, Score
from shared.resampling import Figure, macro_auroc, mean_share
from shared.segmentation import Segmentation
from shared.tasks import Task

Named = dict[str, float | None]


def figure_of(task: Task, measured: Floats, targets: Integers) -> Figure | None:
    """The figure of merit as a function of the patients' weights; None if it is not defined.

    Args:
        task: whose models they are.
        measured, targets: one row per patient, as `client.work.evaluate.measured_by_patient` gives them.
    """
    if isinstance(task, Segmentation):
        return mean_share(task.dice(measured))
    if isinstance(task, Generation):
        return mean_share(task.alike(measured))
    assert isinstance(task, Classification)
    return macro_auroc(*task.one_vs_rest(measured, targets))


def named(task: Task, found: Interval | None) -> Named:
    """A figure of merit under its names, with the ends of its interval."""
    value, low, high = _rounded(found)
    macro = {"macro_auroc": value} if isinstance(task, Classification) and task.outputs > 1 else {}
    return {task.merit: value, **macro, "low": low, "high": high}


def counted(task: Task, measured: Floats, interval: Callable[[Figure | None], Interval | None]) -> Named:
    """F1 of the pieces of test patients, and the ends of what `interval` finds; nothing of a task that counts none."""
    if not isinstance(task, CountedSegmentation):
        return {}
    return dict(zip(("f1", "f1_low", "f1_high"), _rounded(interval(task.f1(measured))), strict=True))


def beside(task: Task, validation: Score, test: Score) -> Named:
    """What is told of test patients beside the figure of merit: balanced accuracy, HD95 in diagonals, or loss.

    Balanced accuracy is at the threshold that the validation patients choose; of classes of which exactly one is
    true, the likeliest is called.
    """
    figures = task.figures(test.statistics)
    if isinstance(task, Segmentation):
        return {"hd95": figures.get("hd95")}
    if isinstance(task, Generation):
        return {"loss": figures.get("loss")}
    if (cuts := task.thresholds(validation.statistics)) is not None:
        figures = task.figures_at(test.statistics, cuts)
    return {"balanced_accuracy": figures.get("balanced_accuracy")}


def _rounded(found: Interval | None) -> Sequence[float | None]:
    """An estimate and the ends of its interval."""
    return (None, None, None) if found is None else [round(float(each), 4) for each in found]
