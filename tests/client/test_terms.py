"""A contract has an end, and holds under one wheel, one set of floors and one cohort; the study goes on after it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from live_federation import answer
from lone_site import UPDATE, LoneSite, a_study

from client.software import Software, code_digest, installed, wheel_of
from shared.cohort_rule import cohort_rule
from shared.errors import WireCode
from shared.site_terms import SiteTerms
from shared.wire import Open

OTHER = Software(code="0" * 64)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[LoneSite]:
    lone = LoneSite(tmp_path)
    yield lone
    lone.close()


def work(site: LoneSite, number: int = 1) -> None:
    site.tell(site.coordinator.work(number))


def test_the_contract_names_everything_that_was_agreed_and_every_release_names_it(site: LoneSite) -> None:
    site.open()
    work(site)
    site.finish()
    (agreed,) = site.entries("contract")
    record = site.site.studies.find("lungs")
    assert record is not None
    contract = record.contract("north")
    assert contract.terms is not None and contract.digest() == agreed["contract"]
    assert (agreed["cohort"], agreed["code"]) == (contract.cohort, installed().code)
    assert agreed["floors"] == {
        "batch_size_at_least": 2,
        "patients_at_least": 5,
        "patients_per_round_at_least": 5,
        "patients_per_step_at_least": 1,
        "peers_at_least": 0,
        "private_below_patients": 0,
        "score_histograms": 1,
        "smallest_cell": 1,
        "steps_at_least": 1,
        "subgroup_scores": 1,
    }
    assert (agreed["wheel"], agreed["expires"]) == (installed().wheel, contract.terms.expires)
    assert [entry["contract"] for entry in site.entries("release")] == [agreed["contract"]] * 2
    assert site.answers[0].terms == contract.terms


def test_after_its_end_nothing_leaves_and_another_opening_makes_another_contract(site: LoneSite) -> None:
    site.open()
    work(site)
    site.pass_days(181)
    site.finish()  # what was computed before the end is held back after it
    assert site.refused() == [WireCode.CONTRACT_EXPIRED] and site.uploads == []
    assert "the contract ended on" in site.entries("release_refused")[-1]["rule"]
    work(site)
    site.tell(site.coordinator.grant(1))
    assert site.refused() == [WireCode.CONTRACT_EXPIRED] * 3
    site.open()
    old, new = site.entries("contract")
    assert old["contract"] != new["contract"] and old["expires"] < new["expires"]
    trained = len(site.hands.jobs)
    work(site)
    assert (site.answers[-1].type, site.uploads, len(site.hands.jobs)) == ("ready", [UPDATE], trained)  # spooled


def test_a_study_can_be_put_away_after_its_contracts_end(site: LoneSite) -> None:
    site.open()
    site.pass_days(181)
    site.tell(site.coordinator.close(1))
    assert site.answers[-1].type == "closed" and not site.refused()


def test_an_opening_before_the_end_makes_no_other_contract(site: LoneSite) -> None:
    site.open()
    site.pass_days(100)
    site.start()
    site.open()
    assert len({entry["contract"] for entry in site.entries("contract")}) == 1


def test_a_shorter_life_ends_earlier(site: LoneSite) -> None:
    site.set_policy(contract_days=1)
    site.open()
    site.pass_days(1)
    work(site)
    assert site.refused() == [WireCode.CONTRACT_EXPIRED]


@pytest.mark.parametrize("floors", [{}, {"steps_at_least": 2}, {"score_histograms": False}])
def test_another_wheel_or_other_floors_make_another_contract(site: LoneSite, floors: dict[str, int]) -> None:
    site.open()
    if floors:
        site.set_policy(**floors)
    else:
        site.start(software=OTHER)
    work(site)
    assert site.refused() == [WireCode.CONTRACT_EXPIRED] and not site.hands.jobs
    site.open()
    assert len({entry["contract"] for entry in site.entries("contract")}) == 2
    work(site)
    assert len(site.hands.jobs) == 2  # an opening, a round


def approve(site: LoneSite) -> None:
    flags = ("--by", "Dr. Who", "--yes", "--contract", site.waiting())
    answer("site", "approve", "lungs", "--config", site.folder / "site.toml", *flags)


def reopened(site: LoneSite, **changes: object) -> Open:
    return site.coordinator.open().model_copy(update=changes)


def test_a_decision_binds_the_cohort_that_was_shown(site: LoneSite) -> None:
    site.set_policy(studies="ask")
    site.tell(reopened(site, cohort=("north", "south")))
    approve(site)
    site.tell(reopened(site, cohort=("north", "south", "west")))
    site.tell(reopened(site, cohort=("north",)))
    assert site.refused() == [WireCode.AWAITS_APPROVAL] * 3
    site.pass_days(1)
    site.tell(reopened(site, cohort=("north", "south")))  # by now the site would agree for longer than it was shown
    assert site.refused() == [WireCode.AWAITS_APPROVAL] * 4
    approve(site)
    site.tell(reopened(site, cohort=("south", "north")))  # the same sites
    site.finish()
    assert site.answers[-1].type == "opened"
    (approved,) = site.entries("approval")
    (agreed,) = site.entries("contract")
    assert approved["cohort"] == agreed["cohort"] == cohort_rule(site.coordinator.study, ("north", "south"))
    assert (approved["expires"], approved["contract"]) == (agreed["expires"], agreed["contract"])


def test_what_ran_out_waits_for_a_person_again(site: LoneSite) -> None:
    site.set_policy(studies="ask")
    site.tell(site.coordinator.open())
    approve(site)
    site.open()
    site.pass_days(181)
    work(site)
    site.tell(site.coordinator.open())
    assert site.refused()[-2:] == [WireCode.CONTRACT_EXPIRED, WireCode.AWAITS_APPROVAL]


def test_a_cohort_rule_is_of_sites_and_rounds() -> None:
    study = a_study()
    assert cohort_rule(study, ("a", "b")) == cohort_rule(study, ("b", "a")) != cohort_rule(study, ("a",))
    smaller = study.model_copy(update={"rounds": study.rounds.model_copy(update={"quorum": 2})})
    assert cohort_rule(study, ("a", "b")) != cohort_rule(smaller, ("a", "b"))


@pytest.mark.parametrize("expires", ["2030-01-31", "2030-13-31T12:00:00Z", "2030-01-31T12:00:00+01:00", "never"])
def test_what_is_no_end(expires: str) -> None:
    with pytest.raises(ValueError, match="expires"):
        SiteTerms(code="c" * 64, floors={}, expires=expires)


# ------------------------------------------------------------ software


def test_the_code_s_digest_tells_any_change_of_a_python_file(tmp_path: Path) -> None:
    for package in ("client", "shared"):
        (tmp_path / package).mkdir()
    (tmp_path / "client" / "door.py").write_text("shut = True\n")
    before = code_digest(tmp_path)
    (tmp_path / "client" / "notes.txt").write_text("not code")
    assert code_digest(tmp_path) == before
    (tmp_path / "client" / "door.py").write_text("shut = False\n")
    assert code_digest(tmp_path) != before
    (tmp_path / "client" / "door.py").rename(tmp_path / "shared" / "door.py")
    assert code_digest(tmp_path) != before


@pytest.mark.parametrize(
    ("note", "found"),
    [
        (f'{{"archive_info": {{"hashes": {{"sha256": "{"a" * 64}"}}}}, "url": "file:///w.whl"}}', "a" * 64),
        ('{"archive_info": {"hashes": {"sha256": "short"}}}', None),
        ('{"dir_info": {"editable": true}, "url": "file:///src"}', None),
        ("{}", None),
        ("torn {", None),
    ],
)
def test_a_wheel_is_known_where_its_installer_noted_it(note: str, found: str | None) -> None:
    assert wheel_of(note) == found
