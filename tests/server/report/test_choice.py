"""The report speaks of the chosen model as the final one, and says why it is and why training ended."""

from typing import Any

from server.report import report_data, write_report
from server.report.comparison import compared
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.page import render
from server.report.table import rows


def test_the_chosen_model_is_the_final_one_everywhere(wards: Any) -> None:
    ward = wards.chosen(2, rounds=4)
    facts = facts_of(read_evidence(ward.folder))
    digest = ward.score(2, "north").model_digest
    assert "After 4 rounds on 600 training patients at 3 sites, the model of round 2, the best on" in (
        facts.headline.sentence
    )
    proof = facts.integrity
    assert (proof.model_digest, proof.model_round, proof.model_holds) == (digest, 2, True)
    assert proof.model_file.path == "models/round-00002.safetensors"
    assert facts.test.patients == 180
    north = facts.sites[0]
    assert north.validation.merit.value == ward.score(2, "north").figures["auroc"]
    assert north.test.merit.value == ward.score(2, "north", "test").figures["auroc"]


def test_the_curve_reaches_the_last_model_and_marks_the_chosen_one(wards: Any) -> None:
    facts = facts_of(read_evidence(wards.chosen(2, rounds=4).folder))
    assert [(point.model, point.sites) for point in facts.curve] == [(n, 3) for n in range(5)]
    page = render(facts)
    assert page.count('class="chosen"') == 2  # the mark and its word in the legend
    assert "Chosen: model after round 2" in page


def test_why_it_was_chosen_and_why_training_ended(wards: Any) -> None:
    ward = wards.chosen(2, rounds=4)
    page = write_report(ward.folder).read_text()
    assert "stopped after round 4: no better model since that of round 2; 9 rounds were planned" in page
    assert (
        "The model of round 2: its AUROC on the validation patients of 3 sites is 0.875, the best of 5 models" in page
    )
    assert "those of north, south, west." in page
    choice = report_data(ward.folder)["choice"]
    assert (choice["round"], choice["metric"], choice["cohort"]) == (2, "auroc", ("north", "south", "west"))


def test_models_that_were_not_candidates_are_said_to_be_missing(wards: Any) -> None:
    ward = wards.new(wards.study(rounds=2)).begin().whole_round(1).whole_round(2)
    ward.choose(1, 2)
    facts = facts_of(read_evidence(ward.folder))
    assert facts.choice is not None
    assert "models that one of these sites did not score" not in render(facts)
    fewer = facts.choice.__class__(**vars(facts.choice) | {"candidates": (1, 2)})
    changed = facts.__class__(**vars(facts) | {"choice": fewer})
    assert "models that one of these sites did not score are not among them" in render(changed)


def test_the_choice_has_its_cells(wards: Any) -> None:
    table = list(rows(facts_of(read_evidence(wards.chosen(2, rounds=4).folder))))
    study = {name: value for scope, _, _, name, value in table if scope == "study"}
    assert (study["chosen.round"], study["chosen.metric"], study["chosen.value"]) == (2, "auroc", 0.875)
    assert (study["model_round"], study["chosen.sites"]) == (2, "north, south, west")
    assert str(study["stopped"]).startswith("stopped after round 4")
    assert [number for _, _, number, name, _ in table if name == "candidate"] == [0, 1, 2, 3, 4]


def test_where_nothing_was_chosen_nothing_is_said_of_it(wards: Any) -> None:
    facts = facts_of(read_evidence(wards.finished().folder))
    assert facts.choice is None
    assert "Which model is the final one" not in render(facts)
    assert not [row for row in rows(facts) if str(row[3]).startswith(("chosen", "stopped", "candidate"))]


def test_two_studies_say_of_which_round_their_models_are(wards: Any) -> None:
    found = compared(read_evidence(wards.chosen(2).folder), read_evidence(wards.finished().folder))
    assert (found.a.model_round, found.b.model_round) == (2, 3)
