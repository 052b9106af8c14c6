"""The report of a study that segments speaks of Dice, wherever one that classifies speaks of the AUROC."""

from typing import Any

import pytest
from browser import Reader

from server.report import report_data, write_report
from server.report.comparison import in_json
from server.report.publish import compare
from shared.metrics import add
from shared.tasks import task_for


@pytest.mark.parametrize("mode", ["masks", "organs"])
def test_every_figure_bears_the_name_of_dice(wards: Any, mode: str) -> None:
    ward = wards.finished(mode)
    task, found = task_for(ward.study.task), report_data(ward.folder)
    expected = task.figures(add(ward.score(3, site, "test").statistics for site in ward.sites))
    dice = found["test"]["dice"]
    assert (dice["value"], dice["low"], dice["high"]) == tuple(expected[f"dice{end}"] for end in ("", "_low", "_high"))
    assert found["test"]["figures"]["hd95"] == expected["hd95"]
    assert found["test"]["figures"]["excluded"] == 6
    assert [point["dice"]["value"] < 1 for point in found["curve"]] == [True] * 4
    assert found["fairness"]["heterogeneity"]["df"] == 2
    assert f"test {'Dice' if mode == 'masks' else 'mean Dice'} of {expected['dice']:.3f}" in found["sentence"]
    assert "auroc" not in str(found).lower()


@pytest.mark.parametrize("mode", ["masks", "organs"])
def test_the_page_and_the_table_show_dice_and_no_auroc(wards: Any, mode: str) -> None:
    ward = wards.finished(mode)
    page = write_report(ward.folder)
    text, table = page.read_text(encoding="utf-8"), page.with_name("report.csv").read_text(encoding="utf-8")
    assert Reader(text)
    for word in ("Dice", "HD95", "Patients excluded", "soft Dice loss"):
        assert word in text
    for word in ("AUROC", "DeLong", "Brier", "Balanced accuracy", "Sensitivity"):
        assert word not in text
    assert "pooled,,,test.dice," in table and "pooled,,,test.hd95," in table and "auroc" not in table
    assert ("pooled,,,test.dice.liver," in table) == (mode == "organs")


def test_two_studies_are_compared_by_it(wards: Any) -> None:
    found = in_json(compare(wards.finished("masks").folder, wards.finished("masks", rounds=2).folder))
    assert found["a"]["worst_dice"] < 1
    assert "worst_auroc" not in found["a"]
