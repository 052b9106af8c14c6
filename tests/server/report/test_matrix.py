"""Each model at each site: the rows that are shown, what is missing, and every figure in the table, too."""

import itertools
import string
from typing import Any

import pytest

from server.records import TrainingEnded
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.matrix import MOST_MODELS, own_matrix_of, rows_shown
from server.report.page import heat, render
from server.report.scores import pooled
from server.report.table import rows
from shared.tasks import task_for


def test_few_models_are_all_shown_and_of_many_the_ends_the_final_one_and_some_between() -> None:
    assert rows_shown([0, 1, 2], final=2) == [0, 1, 2]
    assert rows_shown([4], final=4) == [4]
    shown = rows_shown(list(range(101)), final=37)
    assert len(shown) <= MOST_MODELS + 3
    assert {0, 37, 100} <= set(shown)
    gaps = [b - a for a, b in itertools.pairwise(shown)]
    assert max(gaps) <= 100 / MOST_MODELS


def test_a_cell_is_the_figure_that_the_site_released(wards: Any) -> None:
    ward = wards.chosen(2, rounds=4)
    facts = facts_of(read_evidence(ward.folder))
    assert facts.matrix is not None
    assert [(row.model, row.role) for row in facts.matrix.rows] == [
        (0, ""),
        (1, ""),
        (2, "chosen"),
        (3, ""),
        (4, "last"),
    ]
    for row in facts.matrix.rows:
        for site in ward.sites:
            assert row.by_site[site].merit.value == ward.score(row.model, site).figures["auroc"]
    assert facts.matrix.rows[2].pooled == facts.curve[2].merit


def test_a_site_that_did_not_score_a_model_has_a_dash_there(wards: Any) -> None:
    ward = wards.new().begin().whole_round(1)
    ward.say(ward.opening(2), ward.ready(2, "north"), ward.ready(2, "south")).commit(2, "north", "south")
    facts = facts_of(read_evidence(ward.folder))
    assert facts.matrix is not None
    assert facts.matrix.sites == ("north", "south", "west")
    assert facts.matrix.rows[1].by_site["west"].merit.why == "the site did not score it"
    page = render(facts)
    section = page[page.index('id="matrix"') : page.index('id="participation"')]
    assert section.count('title="the site did not score it"') == 1
    assert section.count('scope="row"') == 2


def test_one_site_alone_makes_no_matrix(wards: Any) -> None:
    facts = facts_of(read_evidence(wards.new(sites=("north",)).begin().whole_round(1).folder))
    assert facts.matrix is None
    assert 'id="matrix"' not in render(facts)


@pytest.mark.parametrize(("sites", "heads"), [(8, 8), (9, 4)])
def test_with_many_sites_the_table_is_turned_so_that_it_fits_on_paper(wards: Any, sites: int, heads: int) -> None:
    ward = wards.new(sites=tuple(f"site-{n}" for n in range(sites))).begin()
    for number in (1, 2, 3):
        ward.whole_round(number)
    page = render(facts_of(read_evidence(ward.closing_trip(3).finish(3).folder)))
    section = page[page.index('class="matrix"') : page.index('id="participation"')]
    assert section.count('scope="row"') == (4 if sites == 8 else sites + 1)
    assert section.count('<th scope="col">') == heads
    assert section.count('<td class="heat') == 4 * (sites + 1)


def test_every_figure_is_in_the_table(wards: Any) -> None:
    facts = facts_of(read_evidence(wards.chosen(2, rounds=4).folder))
    cells = {(site, number, name): value for scope, site, number, name, value in rows(facts) if scope == "model"}
    assert facts.matrix is not None
    for row in facts.matrix.rows:
        for site, scored in row.by_site.items():
            for name, value in (("", scored.merit.value), (".low", scored.merit.low), (".high", scored.merit.high)):
                assert cells.get((site, row.model, f"validation.auroc{name}")) == value


def test_the_better_the_darker_and_chance_is_white() -> None:
    assert heat(0.2) == heat(0.5) == 0
    assert 0 < heat(0.7) < heat(0.9) < heat(1.0) < 50


def compared(wards: Any) -> Any:
    ward = wards.new(wards.study(rounds=2)).begin().whole_round(1).whole_round(2)
    ward.say(TrainingEnded(round=2, cause="rounds"))
    return ward.compare_own(2, "north", "west").closing_trip(2).finish(2)


def test_the_sites_own_models_stand_below_the_final_one(wards: Any) -> None:
    facts = facts_of(read_evidence(compared(wards).folder))
    assert facts.own_models is not None
    assert [(row.name, row.role) for row in facts.own_models.rows] == [
        ("the model of round 2", "final"),
        ("the own model of north", ""),
        ("the own model of west", ""),
    ]
    north = {site: scored.merit.value for site, scored in facts.own_models.rows[1].by_site.items()}
    assert None not in north.values()
    assert north["north"] == max(north.values(), key=lambda area: area or 0)
    page = render(facts)
    assert page.count("heat framed") == 2
    assert "No own model of south: it has not counted" in page


def test_beyond_26_sites_the_own_models_stand_in_the_order_of_the_letters(wards: Any) -> None:
    letters = [f"site {letter}" for letter in (*string.ascii_uppercase, "AA")]
    history = read_evidence(compared(wards).folder).history
    scored = next(said for said in history.own_scores if said.scores)
    history.own_scores = [scored.model_copy(update={"of": letter, "site": "north"}) for letter in sorted(letters)]
    matrix = own_matrix_of(task_for(wards.study().task), history, ("north",))
    assert matrix is not None
    assert [row.of for row in matrix.rows] == [None, *letters]
    scores = dict.fromkeys(letters, scored.scores[0])
    assert list(pooled(task_for(wards.study().task), (), scores).sites) == letters


def test_the_figures_of_own_models_are_in_the_table_under_a_scope_of_their_own(wards: Any) -> None:
    facts = facts_of(read_evidence(compared(wards).folder))
    cells = {(site, name): value for scope, site, _, name, value in rows(facts) if scope == "own_model"}
    assert facts.own_models is not None
    for row in facts.own_models.rows:
        name = f"{row.of or 'final'}.validation.auroc"
        assert cells["", name] == row.pooled.value
        for site, scored in row.by_site.items():
            assert (cells[site, name], cells[site, f"{name}.low"]) == (scored.merit.value, scored.merit.low)


def test_a_study_that_did_not_ask_for_them_says_nothing_of_own_models(wards: Any) -> None:
    facts = facts_of(read_evidence(wards.finished().folder))
    assert facts.own_models is None
    assert "own model" not in render(facts)
