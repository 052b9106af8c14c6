"""Which sites' counts of patients a card tells: decided once, for every table that counts a site's patients.

A site whose patients of a split are hidden is in no other count of them: its subgroups, its structures, and what its
survey says of all splits together are hidden, too. The sums that a card tells beside the total are those of the sites
whose scores are pooled, and of those whose updates were counted.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from server.history import StudyHistory
from server.pooling import releasing
from server.report.facts import SPLITS, Facts
from server.report.scores import final_scores
from shared.model_card import Split
from shared.small_cells import Told, tell


@dataclass(frozen=True)
class SiteCounts:
    """The patients of each site and split, as far as they are told."""

    by_split: Mapping[Split, Told]

    def hides(self, site: str, split: Split | None = None) -> bool:
        """Whether a site's patients of a split, or without one those of any, are hidden."""
        return any(self.by_split[one].counts[site] is None for one in ([split] if split else SPLITS))


def site_counts(facts: Facts, history: StudyHistory, *, smallest: int) -> SiteCounts:
    """Decide for one study.

    Args:
        facts: of the study.
        history: of the same.
        smallest: the least count of patients that is told.
    """
    sums: dict[Split, list[Collection[str]]] = {
        "train": [{site for commit in history.commits for site in commit.counted}],
        "validation": [releasing(final_scores(history, "validation"))],
        "test": [facts.test.sites, releasing(final_scores(history, "test"))],
    }
    counts = {split: {site.site: (site.patients or {}).get(split, 0) for site in facts.sites} for split in SPLITS}
    return SiteCounts({split: tell(counts[split], smallest=smallest, sums=sums[split]) for split in SPLITS})
