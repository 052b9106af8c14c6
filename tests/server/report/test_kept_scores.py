"""A report of sites that keep their statistics, or withhold a score: a mean that says so, and who is not in it."""

import io
from typing import Any

import pytest
from rich.console import Console

from server.cli.comparing import show_comparison
from server.cli.standing import show_standing, standing_of
from server.log import JournalReader
from server.pooling import How
from server.progress import Progress
from server.records import Record, Scored, UpdateReady
from server.report.comparison import compared
from server.report.evidence import read_evidence
from server.report.facts import Facts, facts_of
from server.report.page import render
from server.report.scores import ALL_WITHHELD, KEPT, NO_MEANS, UNRELEASED, WITHHELD
from server.report.table import rows
from shared.metrics import COARSE_FIGURES, Score

SITES = ("north", "south", "west")
MEAN = "mean of the sites' own"


def kept(score: Score) -> Score:
    figures = {name: round(score.figures[name], 2) for name in COARSE_FIGURES if name in score.figures}
    return score.model_copy(update={"statistics": {}, "figures": figures})


def study(wards: Any, *, coarse: tuple[str, ...] = (), withheld: tuple[str, ...] = (), mode: str = "binary") -> Any:
    """A study that went well, whose sites tell of their scores what their policies allow."""
    ward = wards.new(wards.study(mode=mode, rounds=2))
    say = ward.say

    def told(record: Record) -> Record:
        if not isinstance(record, Scored | UpdateReady):
            return record
        if record.site in withheld:
            return record.model_copy(update={"scores": (), "withheld": tuple(s.split for s in record.scores)})
        return (
            record.model_copy(update={"scores": tuple(map(kept, record.scores))}) if record.site in coarse else record
        )

    ward.say = lambda *records: say(*map(told, records))
    return ward.begin().whole_round(1).whole_round(2).closing_trip(2).finish(2)


def facts(ward: Any) -> Facts:
    return facts_of(read_evidence(ward.folder))


def mean(ward: Any, sites: tuple[str, ...], split: str) -> float:
    scores = {site: ward.score(2, site, split) for site in sites}
    return sum(kept(score).figures["auroc"] for score in scores.values()) / len(sites)


@pytest.mark.parametrize("mode", ["binary", "multiclass"])
def test_by_default_the_result_is_a_mean_and_says_so(wards: Any, mode: str) -> None:
    ward = study(wards, coarse=SITES, mode=mode)
    found = facts(ward)
    assert (found.test.how, found.test.sites, found.test.releasing, found.test.figures) == ("mean", SITES, (), {})
    assert (found.test.merit.value, found.test.merit.why) == (pytest.approx(mean(ward, SITES, "test")), NO_MEANS)
    assert f"{MEAN} test " in found.headline.sentence and "on 180 test patients of 3 sites" in page(found)
    assert found.threshold.why == UNRELEASED
    assert {point.how for point in found.curve} == {"mean"}
    assert found.matrix is not None and found.matrix.how == "mean"
    assert found.matrix.rows[-1].pooled.value == pytest.approx(mean(ward, SITES, "validation"))
    assert [site.test.merit.low for site in found.sites] == [
        kept(ward.score(2, site, "test")).figures["auroc_low"] for site in SITES
    ]


def plain(view: Any) -> str:
    """What a terminal shows, its lines in one."""
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(view)
    return " ".join(console.export_text().split())


def page(found: Facts) -> str:
    """What the page says, its lines in one."""
    return " ".join(render(found).replace("&#39;", "'").split())


def test_where_one_site_keeps_its_statistics_the_others_are_pooled_beside_the_mean(wards: Any) -> None:
    ward = study(wards, coarse=("west",))
    found = facts(ward)
    assert (found.test.how, found.test.sites, found.test.releasing) == ("mean", SITES, ("north", "south"))
    assert found.threshold.probabilities and "brier" in found.test.figures
    assert "Only north, south release statistics that add" in page(found)
    assert [(one.site, one.why) for one in found.fairness.sites if one.why] == [("west", KEPT)]
    assert found.fairness.compared == 2


def test_who_withholds_is_named_and_in_no_figure(wards: Any) -> None:
    found = facts(study(wards, withheld=("north",)))
    assert (found.test.how, found.test.sites, found.test.withheld) == ("pooled", ("south", "west"), ("north",))
    assert found.sites[0].test.merit.why == found.sites[0].validation.merit.why == WITHHELD
    assert "Not among these figures: north" in page(found) and WITHHELD in page(found)
    said = {(scope, site, metric): value for scope, site, _, metric, value in rows(found)}
    assert said[("pooled", "north", "test.withheld")] == 1
    assert (said[("pooled", "", "test.how")], said[("site", "north", "test.auroc.why")]) == ("pooled", WITHHELD)


def test_where_all_withhold_there_is_no_result_and_the_reason(wards: Any) -> None:
    found = facts(study(wards, withheld=SITES))
    assert (found.test.merit.why, found.curve, found.matrix) == (ALL_WITHHELD, (), None)
    assert "was scored, but every site that scored it withholds its score" in found.headline.sentence
    assert "There are no test figures" in page(found)


@pytest.mark.parametrize(("coarse", "how"), [(SITES, "mean"), ((), "pooled")])
def test_status_and_comparison_say_what_the_figure_is(wards: Any, coarse: tuple[str, ...], how: How) -> None:
    ward = study(wards, coarse=coarse, withheld=("west",))
    progress = Progress()
    progress.add(JournalReader(ward.folder.journal, public_key=ward.key).entries())
    data = standing_of(ward.folder, federation=ward.folder.path.parent, progress=progress)
    shown = plain(show_standing(data))
    assert (data["progress"]["validation"]["how"], data["progress"]["withheld"]) == (how, ("west",))
    assert (f"{MEAN} AUROC over 2 sites" in shown) == (how == "mean")
    assert "by west" in shown
    evidence = read_evidence(ward.folder)
    assert (f"* {MEAN}" in plain(show_comparison(compared(evidence, evidence)))) == (how == "mean")
