"""The same figures for programs."""

import csv
import io
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
    assert float(cells["pooled", "", "", "test.auroc"]) == found.test.auroc.value
    assert float(cells["pooled", "", "", "test.auroc.low"]) == found.test.auroc.low
    assert float(cells["pooled", "", "", "threshold.opacity"]) == found.threshold.probabilities[0]
    assert float(cells["pooled", "", "", "test.at_threshold.sensitivity"]) == found.threshold.figures["sensitivity"]
    assert float(cells["model", "", "2", "validation.auroc"]) == found.curve[2].auroc.value
    assert float(cells["model", "south", "2", "validation.auroc"]) == found.curve[2].by_site["south"]
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
