"""`study cohort`: counts come through the door of a running federation, and what they could show is said."""

import pytest
from live_federation import STUDY, LiveFederation, answer
from lone_site import a_study
from rich.console import Console, Group

from server.cli.surveying import WITHHELD, shown
from server.feasibility import expected
from shared.survey import SPLITS, Survey


def test_the_coordinator_sees_what_the_sites_have(federation: LiveFederation) -> None:
    file = federation.root / "cohort.toml"
    file.write_text(STUDY.format(name="cohort", rounds=3, steps=4, quorum=3))
    said = answer("study", "cohort", file, "-f", federation.federation)
    assert (list(said["sites"]), said["silent"]) == (sorted(federation.sites), {})
    for site, counts in said["sites"].items():
        survey = Survey.model_validate(counts)
        assert survey.intensity is not None
        test = survey.splits["test"]
        assert (test.patients, set(test.classes.values())) == (None, {None})  # fewer than eleven
        (release,) = federation.ledger(site, "release", said["survey"])
        assert release["survey"] == counts
        assert federation.ledger_verdict(site).ok
    places = [Survey.model_validate(counts).intensity for counts in said["sites"].values()]
    assert said["landmarks"] == [round(sorted(three)[1], 2) for three in zip(*places, strict=True)]
    assert [(chance["name"], chance["width"]) for chance in said["expected"]] == [("opacity", None)]


def test_it_fits_80_columns_and_says_what_could_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    classes = {"opacity": 120, "negative": None}
    fields = {"found": 3000, "used": 2500, "set_aside": {"duplicate": 480, "unreadable": 20}, "missing": {"age": 30}}
    splits = {name: {"patients": 400, "classes": classes} for name in SPLITS}
    survey = Survey.model_validate(fields | {"splits": splits, "vendors": {"siemens": 900, "philips": 300}})
    study = a_study(clinical={"age": {"low": 0, "high": 120}})
    sizes = {"size_px": {"rows": (512, 2048, None), "columns": (512, 2500, 4096)}}
    spacing = {"spacing_mm": {"rows": (0.1, 0.14, 0.2), "columns": (None, 0.14, None)}}
    survey = Survey.model_validate(survey.model_dump() | {"intensity": (0.05, 0.4, 0.93)} | sizes | spacing)
    told = {"st-mary-of-the-lake": survey, "north": survey, "west": survey}
    parts = shown(study, told, {"south": "policy"}, expected(told, study.task.classes), 0.85)
    Console(width=80).print(Group(*parts), markup=False)
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert (
        "opacity: 360 test patients with it and 840 without; if the AUROC is 0.85, its 95 % interval will be" in words
    )
    assert "write under [images]: landmarks = [0.05, 0.4, 0.93]" in words
    assert "north rows 512 2,048 few 0.1 0.14 0.2 columns 512 2,500 4,096 few 0.14 few" in words
    assert WITHHELD in words
    assert "south has counted nothing: policy." in words


def test_of_two_sites_no_scale_is_told_and_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    splits = {name: {"patients": 400, "classes": {}} for name in SPLITS}
    fields = {"found": 9, "used": 9, "set_aside": {}, "missing": {}, "splits": splits, "vendors": {}}
    survey = Survey.model_validate(fields | {"intensity": (0.05, 0.4, 0.93)})
    Console(width=80).print(Group(*shown(a_study(), {"north": survey, "west": survey}, {}, [], 0.85)), markup=False)
    words = " ".join(capsys.readouterr().out.split())
    assert "landmarks =" not in words
    assert "fewer than 3 sites told of their pixels" in words
