"""Classes of a study of which a site has nobody to train on: its model would learn there that all are of the others.

Decides which classes training needs. That most labels are words of another study is the usual cause; the study goes on,
and the site is told (`client/results.py`, `wardround site data`).
"""

from collections.abc import Mapping

from shared.study import TaskSpec

MANY_ASIDE = 0.1  # of the files or images


def absent_classes(training: Mapping[str, int], task: TaskSpec) -> tuple[str, ...]:
    """The classes without any training patient; none where nobody trains at all, for that is another fault.

    Args:
        training: patients or images to train on by class, those of no class under `negative`.
        task: the study's.
    """
    one_sided = task.kind == "classification" and task.mode == "binary"
    needed = (*task.classes, "negative") if one_sided else task.classes
    return tuple(name for name in needed if not training.get(name)) if any(training.values()) else ()
