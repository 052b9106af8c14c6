"""How a model's masks are read, and how well they agree: Dice and HD95 of each structure, pooled and at each site.

A mask calls the likeliest at each place. No patient has a probability by it, so that nothing is calibrated and no cut
is chosen. Figures are those of `shared/segmentation.py`; where a structure was measured in fewer patients than are
told, they are hidden with the counts.
"""

import math
from collections.abc import Iterable
from functools import partial

from server.history import StudyHistory
from server.pooling import releasing
from server.report.scores import Scores, final_scores
from shared import metrics
from shared.metrics import Statistics
from shared.model_card import Calibration, Figure, Operating, Performance, StructurePerformance
from shared.small_cells import tell
from shared.study import TaskSpec

UNCALIBRATED = "a mask says where a structure is, and no patient has a probability by it"
LIKELIER = "A place belongs to a structure where the network finds that likelier than not."
LIKELIEST = "A place belongs to the structure that the network finds likeliest there, or to none if that is likelier."
FEW = "fewer patients are measured than are told"
NOWHERE = "neither the masks nor the model show it in any patient"
ALONE = "no interval: fewer than two patients, or sums without squares"
_MILLION = 1_000_000


def calibration_of_masks() -> Calibration:
    """None, and why."""
    return Calibration(kind="none", why=UNCALIBRATED)


def operating_of_masks(task: TaskSpec) -> Operating:
    """When a place is called."""
    return Operating(rule="likeliest", words=LIKELIER if task.mode == "binary" else LIKELIEST, at=())


def with_structures(
    found: Performance, task: TaskSpec, history: StudyHistory, *, smallest: int, counting: bool
) -> Performance:
    """The same, with every structure over all sites and at each.

    Args:
        found: of a task of segmentation; where a site's patients are hidden, they are here, too.
        task: names the structures.
        history: of the study.
        smallest: the least count of patients that is told.
        counting: whether patients are counted at all; a private study does not.
    """

    tell_of = partial(_structures, task, smallest=smallest)
    scores = {split: final_scores(history, split) for split in ("validation", "test")}
    sites = tuple(
        site.model_copy(update={"structures": tell_of({site.site: score}, counting=site.patients is not None)})
        if (score := scores[site.split].get(site.site))
        else site
        for site in found.by_site
    )
    pooled = tell_of(scores["test"], counting=counting)
    at_sites = zip(*(site.structures for site in sites if site.structures), strict=True)
    structures = tuple(map(_with_no_sum_of_the_hidden, pooled, at_sites))
    return found.model_copy(update={"structures": structures, "by_site": sites})


def _with_no_sum_of_the_hidden(
    pooled: StructurePerformance, at_sites: Iterable[StructurePerformance]
) -> StructurePerformance:
    """Counts over all sites, less those of the others, would tell a site's."""
    if any(one.patients is None for one in at_sites):
        return pooled.model_copy(update={"patients": None, "excluded": None})
    return pooled


def _structures(task: TaskSpec, scores: Scores, *, smallest: int, counting: bool) -> tuple[StructurePerformance, ...]:
    """Of the patients of the sites that release statistics; nothing where no site does."""
    added = metrics.add(score.statistics for score in releasing(scores).values())
    if not added:
        return ()
    return tuple(_structure(number, name, added, smallest, counting) for number, name in enumerate(task.classes))


def _structure(number: int, name: str, added: Statistics, smallest: int, counting: bool) -> StructurePerformance:
    measured = added["measured"][number]
    told = tell({"measured": measured, "excluded": added["excluded"][number]}, smallest=smallest)
    counts = told.counts if counting else dict.fromkeys(told.counts)
    hidden = told.counts["measured"] is None
    return StructurePerformance(
        name=name,
        patients=counts["measured"],
        excluded=counts["excluded"],
        dice=_mean("dice", number, added, hidden=hidden),
        hd95=_mean("hd95", number, added, hidden=hidden),
    )


def _mean(name: str, number: int, added: Statistics, *, hidden: bool) -> Figure:
    measured = added["measured"][number]
    if hidden or not measured:
        return Figure(why=FEW if hidden else NOWHERE)
    mean = _share(added[f"{name}_millionths"][number], measured)
    squares = added.get(f"{name}_square_millionths")  # journals of older versions have none of HD95
    if measured < 2 or squares is None:
        return Figure(value=mean, why=ALONE)
    spread = max(_share(squares[number], measured) - mean**2, 0.0)
    found = metrics.interval(mean, math.sqrt(spread / (measured - 1)))
    return Figure(value=mean, low=found.low, high=found.high)


def _share(millionths: int, patients: int) -> float:
    return millionths / (_MILLION * patients)
