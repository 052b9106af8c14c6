"""How much of its scores and counts a site tells: nothing about few patients, and fine statistics only by its policy.

1. A split is withheld if it has fewer patients than `policy.smallest_cell`. It is withheld, too, if fewer than that are
   of a class, or are not of it: no patient at all tells that nobody has it. Where its statistics do not count the
   patients of any class, that cannot be seen, and it is withheld. Only that it was withheld is told. Of segmentation
   the patients counted are those in whom a structure was measured: it is their figures that are told.
2. Of any other split the statistics that add over sites, histograms of scores among them, are told only with
   `policy.score_histograms`. Else the site's own AUROC or Dice leaves, with its interval, rounded.
3. Subgroups of test patients are told only with `policy.subgroup_scores`, and none of few (`shared/subgroups.py`).
4. Of a survey no cell is told of fewer patients, nor one that could be worked out (`shared/survey.py`).

With a smallest cell of 1 nobody is few. The door applies 1 to 3 to every report and 4 to every survey
(`client/egress.py`), whoever made it. What a score may hold at all is the
contract's. Sources of the usual cells: tables of patients with a count below 11 (US CMS, cell size suppression policy)
or 10 (UK ONS, disclosure control for tables from health data) are not published.
"""

from collections.abc import Mapping

from client.policy import Policy
from shared.contract import Contract
from shared.metrics import COARSE_DECIMALS, COARSE_FIGURES, Score
from shared.subgroups import COUNTING, counts_in, covered
from shared.survey import covered as covered_survey
from shared.wire import Message, Ready, Rehearsed


def disclosed(message: Message, *, contract: Contract | None, policy: Policy) -> Message:
    """What may be told of a message: itself, unless it is a report or a survey that tells too much.

    In a private study not even that a split was withheld is told.
    """
    if isinstance(message, Rehearsed) and message.survey is not None:
        return message.model_copy(update={"survey": covered_survey(message.survey, smallest=policy.smallest_cell)})
    if type(message) is not Ready or contract is None or not message.scores:
        return message
    told = [score for score in message.scores if not _is_small(score, contract, policy.smallest_cell)]
    withheld = tuple(score.split for score in message.scores if score not in told)
    scores = tuple(_by_policy(_apart(score, contract, policy), policy) for score in told)
    return message.model_copy(update={"scores": scores, "withheld": () if contract.privacy else withheld})


def _is_small(score: Score, contract: Contract, smallest: int) -> bool:
    if smallest == 1:
        return False
    counted = (rule.fewest(score.statistics[rule.name]) for rule in contract.metrics if rule.name in score.statistics)
    sides = [few for few in counted if few is not None]
    return not sides or min(score.patients, *sides) < smallest


def _apart(score: Score, contract: Contract, policy: Policy) -> Score:
    """The same with the subgroups that may be told; their counts say which are few, and without them it is not."""
    rule = next((rule for rule in contract.metrics if rule.name in COUNTING and rule.row), None)
    if not policy.subgroup_scores or rule is None or rule.row is None:
        return score.model_copy(update={"subgroups": ()})
    counted = (
        one if rule.holds(counts_in(one.statistics), patients=one.patients or 0) else one.withheld
        for one in score.subgroups
    )
    told = covered(
        counted,
        patients=score.patients,
        counting=counts_in(score.statistics),
        row=rule.row,
        smallest=policy.smallest_cell,
    )
    return score.model_copy(update={"subgroups": told})


def _by_policy(score: Score, policy: Policy) -> Score:
    if policy.score_histograms:
        return score
    subgroups = tuple(
        one.model_copy(update={"histogram": (), "sums": {}, "figures": _coarse(one.figures)}) for one in score.subgroups
    )
    return score.model_copy(update={"statistics": {}, "figures": _coarse(score.figures), "subgroups": subgroups})


def _coarse(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figures[name], COARSE_DECIMALS) for name in COARSE_FIGURES if name in figures}
