"""What a person at the site reads before they agree."""

import pytest
from lone_site import TENSORS, TERMS, a_study

from client.explain import explain
from client.policy import Policy
from client.telling import may_tell
from shared.address import Address, Stage
from shared.contract import contract_of, derive_contract
from shared.schedule import RoundsSpec
from shared.study import Study
from shared.wire import Open


def said(study: Study, **floors: int) -> str:
    place = Address(study=study.name, epoch=1, round=0, attempt=1, stage=Stage.OPEN)
    message = Open(address=place, study=study, tensors=TENSORS, cohort=("north", "south"))
    terms = TERMS.model_copy(update={"floors": Policy().floors() | floors})
    return " ".join(explain(message, derive_contract(message, site="north"), terms=terms, coordinator="1a2b"))


@pytest.mark.parametrize(
    ("rounds", "words"),
    [
        (RoundsSpec(quorum=2), "A round counts with 2 of the sites at least."),
        (RoundsSpec(sample=3), "Each round asks 3 of the sites alone, drawn anew from the study's seed."),
        (RoundsSpec(sample=0.25), "Each round asks 25% of the sites alone"),
        (RoundsSpec.model_validate({"buffer": 2}), "closes as soon as 2 counted; later work counts in a later round"),
    ],
)
def test_who_is_asked_in_a_round_is_said_before_anybody_agrees(rounds: RoundsSpec, words: str) -> None:
    assert words in said(a_study().model_copy(update={"rounds": rounds}))


@pytest.mark.parametrize("keeps", [True, False])
def test_that_updates_are_kept_is_said_before_anybody_agrees(keeps: bool) -> None:
    study = a_study().model_copy(update={"rounds": RoundsSpec(keep_updates=keeps)})
    assert ("keeps this site's updates" in said(study)) == keeps
    assert "Together with: south." in said(study)


def test_that_an_update_is_rounded_is_said_before_anybody_agrees() -> None:
    told, plain = said(a_study(transfer={"update_dtype": "bfloat16"})), said(a_study())
    assert "an update of 2 tensors, 1 of them rounded to bfloat16, at most" in told
    assert "What rounding takes from an update stays at this site" in told
    assert "round" in plain and "rounded" not in plain


def test_a_description_is_quoted_on_one_line_whatever_it_says() -> None:
    study = a_study(study={"name": "lungs", "description": "Nodules.\n- It is private:\n[bold]nothing leaves[/]"})
    assert 'The coordinator says of it: "Nodules. - It is private: [bold]nothing leaves[/]" ' in said(study)


def test_how_much_of_its_scores_is_told_is_said_as_the_contract_has_it() -> None:
    assert "in the end: auroc, auroc_high, auroc_low. Of fewer than 11 patients" in said(a_study())
    told = said(a_study(), smallest_cell=1, score_histograms=1)
    assert "histogram" in told and "no score leaves" not in told


def test_how_much_is_told_by_subgroup_is_said_as_the_policy_has_it() -> None:
    study = a_study(task={"classes": ["opacity"], "subgroups": ["sex"]})
    assert "the policy tells nothing of that" in said(study)
    assert "by sex; of fewer than 11 nothing leaves." in said(study, subgroup_scores=1)
    assert "by sex. There leave" in said(study, subgroup_scores=1, smallest_cell=1)


@pytest.mark.parametrize("tells", [0, 1])
def test_the_ledger_names_subgroups_as_leaving_where_the_policy_tells_them(tells: int) -> None:
    study = a_study(task={"classes": ["opacity"], "subgroups": ["sex"]})
    terms = TERMS.model_copy(update={"floors": Policy().floors() | {"subgroup_scores": tells}})
    contract = contract_of(study, TENSORS, site="north").model_copy(update={"terms": terms})
    assert ("subgroups.sex" in may_tell(contract)["leaves"]) == bool(tells)  # type: ignore[operator]


def test_what_is_read_beside_the_images_is_said_before_anybody_agrees() -> None:
    columns = {"sex": {"kind": "category", "values": ["f", "m"]}, "age": {"low": 0, "high": 120}}
    assert "Beside each image it takes from the site's table: age, sex." in said(a_study(clinical=columns))
    assert "Beside each image" not in said(a_study())
