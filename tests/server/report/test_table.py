"""The same figures for programs."""

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from server.claim import AdmissionReason
from server.records import SiteLost, UpdateRefused
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.table import COLUMNS, as_csv

Cells = dict[tuple[str, str, str, str], str]


def table(ward: Any) -> Cells:
    lines = list(csv.reader(io.StringIO(as_csv(facts_of(read_evidence(ward.folder))))))
    assert tuple(lines[0]) == COLUMNS
    cells = {(scope, site, number, metric): value for scope, site, number, metric, value in lines[1:]}
    assert len(cells) == len(lines) - 1  # no figure stands there twice
    return cells


def test_figures_of_every_scope(wards: Any) -> None:
    ward = wards.finished()
    cells, found = table(ward), facts_of(read_evidence(ward.folder))
    assert float(cells["pooled", "", "", "test.auroc"]) == found.test.merit.value
    assert float(cells["pooled", "", "", "test.auroc.low"]) == found.test.merit.low
    assert float(cells["pooled", "", "", "threshold.opacity"]) == found.threshold.probabilities[0]
    assert float(cells["pooled", "", "", "test.at_threshold.sensitivity"]) == found.threshold.figures["sensitivity"]
    assert float(cells["model", "", "2", "validation.auroc"]) == found.curve[2].merit.value
    assert float(cells["model", "south", "2", "validation.auroc"]) == found.curve[2].by_site["south"]
    fair = found.fairness
    assert float(cells["fairness", "south", "", "difference.p_holm"]) == fair.sites[1].p_holm
    assert float(cells["fairness", "", "", "q"]) == fair.heterogeneity.q
    assert cells["fairness", "", "", "worst"] == fair.worst
    assert cells["site", "west", "", "patients.train"] == "300"
    assert cells["site", "west", "", "update_bytes"] == "3000"
    assert cells["round", "", "1", "median_seconds.train"] == "2.0"
    assert cells["round", "north", "3", "participation"] == "counted"
    assert cells["study", "", "", "model_digest"] == found.integrity.model_digest


def test_by_class(wards: Any) -> None:
    cells = table(wards.finished("multiclass"))
    assert {key[3] for key in cells} >= {
        "test.auroc.none",
        "test.auroc.left",
        "validation.auroc.right",
        "threshold.why",
    }


def test_a_missing_figure_has_a_reason_and_no_value(wards: Any) -> None:
    cells = table(wards.new().begin())
    assert ("pooled", "", "", "test.auroc") not in cells
    assert cells["pooled", "", "", "test.auroc.why"] == "no site scored it"
    assert cells["site", "north", "", "test.auroc.why"] == "the site did not score it"


def test_refusals_and_lost_lines(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(UpdateRefused(round=1, site="south", reasons=(AdmissionReason.NORM,), detail="large"))
    cells = table(ward.say(SiteLost(round=2, site="west", cause="line_lost")))
    assert cells["refusal", "south", "1", "server.norm"] == "The update is far larger than those of the last rounds."
    assert cells["loss", "west", "2", "line"] == "The line was lost."


PROSE = ("notice", "headline", "not_for", "words", "description", "remedy")


def leaves(value: Any, name: str = "") -> Iterator[str]:
    """Every figure and word of the facts that is no prose, as the table writes it."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, str(key)) if key not in PROSE else ()
    elif isinstance(value, list | tuple):
        for part in value:
            yield from leaves(part, name)
    elif value is not None and value != "":
        yield str(int(value) if isinstance(value, bool) else value)


def test_every_fact_has_a_cell(wards: Any) -> None:
    ward = wards.new(sites=("north", "south")).begin().whole_round(1)
    ward.say(ward.opening(2), ward.ready(2, "north", train_s=3.25), SiteLost(round=2, site="south", cause="line_lost"))
    ward.commit(2, "north", absent={"south": "line_lost"})
    ward.say(UpdateRefused(round=3, site="south", reasons=(AdmissionReason.NORM,), detail="large")).closing_trip(2)
    facts = facts_of(read_evidence(ward.folder))
    written = {cell for line in csv.reader(io.StringIO(as_csv(facts))) for cell in line}
    metrics = {part for cell in written for part in cell.split(".")}
    assert set(leaves(asdict(facts))) - written - metrics == set()


def test_the_work_of_a_site_in_a_round_is_there_once(wards: Any) -> None:
    ward = wards.new(sites=("north",)).begin()
    ward.say(ward.opening(1), ward.ready(1, "north", train_s=7.5), ward.spooled(1, "north"))
    ward.say(ward.ready(1, "north", train_s=0.0, replayed=True)).commit(1, "north")
    cells = table(ward)
    assert cells["round", "north", "1", "seconds.train"] == "7.5"
    assert (cells["round", "north", "1", "steps"], cells["round", "north", "1", "norm"]) == ("4", "1.0")
    assert (cells["round", "north", "1", "update_bytes"], cells["round", "north", "1", "replayed"]) == ("1000", "0")
