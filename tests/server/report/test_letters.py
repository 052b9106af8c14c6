"""Reports by letter: no name in any file, an order that tells nothing, and the same figures as with names."""

import csv
import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.claim import AdmissionReason
from server.records import RECORDS, SiteLost, SiteRefused, StudyFailed, TrainingEnded, UpdateRefused
from server.report import compare, compare_by_letter, report_data, write_report, write_report_by_letter
from server.report.evidence import read_evidence
from server.report.facts import facts_of
from server.report.letters import (
    CAUSES,
    HIDDEN,
    KEY_FILE,
    LEFT_OUT,
    MANY,
    ONE,
    TEXTS,
    Letters,
    by_letter,
    letter,
    letters_key,
    sites_of,
)
from server.report.table import as_csv
from server.study_folder import StudyState
from shared.errors import WireCode

SITES = ("charite", "st-mary", "st-mary-annex", "ulm")
NAMES = st.from_regex(r"\A[a-z][a-z0-9-]{0,9}\Z")


def troubled(wards: Any) -> Any:
    """A study whose every kind of words names a site, one of which stays away."""
    description = "Led by CHARITE, with St-Mary-Annex and Ulm."
    ward = wards.new(wards.study(description=description), sites=(*SITES, "bremen")).begin(
        opened=SITES, device="cuda on ulm-2"
    )
    ward.say(ward.opening(1, asked=SITES), *(ward.ready(1, site) for site in SITES))
    ward.say(UpdateRefused(round=1, site="ulm", reasons=(AdmissionReason.NORM,), detail="9 for ulm, 3 for charite"))
    ward.say(SiteLost(round=1, site="st-mary", cause="line_lost"))
    ward.commit(1, "charite", "st-mary-annex", refused={"ulm": "norm"}, absent={"st-mary": "st-mary was cut off"})
    ward.closing_trip(1, *SITES).say(StudyFailed(reason="Too few sites: st-mary is missing."))
    reason, remedy = "Too few sites: st-mary and Ulm are missing.", "Call st-mary; on the roster: extra, ulm."
    return ward.end(StudyState.FAILED, reason=reason, remedy=remedy)


def named(text: str, sites: tuple[str, ...]) -> list[str]:
    return [site for site in sites if re.search(rf"(?<![a-z0-9]){site}(?![a-z0-9])", text, re.IGNORECASE)]


def files(page: Path) -> str:
    return page.read_text(encoding="utf-8") + page.with_suffix(".csv").read_text(encoding="utf-8")


def test_no_name_is_left_in_any_file(wards: Any) -> None:
    ward = troubled(wards)
    everyone = (*SITES, "bremen", "extra")
    assert set(named(files(write_report(ward.folder)), everyone)) == {*everyone}  # else the test could not fail
    page, key = write_report_by_letter(ward.folder, roster=["extra"])
    assert named(files(page), everyone) == []
    assert sorted(key) == [f"site {letter}" for letter in "ABCDE"]
    assert sorted(key.values()) == sorted((*SITES, "bremen"))
    assert named(str(report_data(ward.folder, lettered=True, roster=["extra"])), everyone) == []
    assert page.name == "report-by-letter.html"
    assert "report-by-letter.csv" in page.read_text(encoding="utf-8")
    assert (page.stat().st_mode | page.with_suffix(".csv").stat().st_mode) & 0o077 == 0


def test_a_name_that_the_recipients_know_by_heart_gets_no_letter(wards: Any) -> None:
    """Else "Led by site C" beside the study that all were sent would tell who C is."""
    page, _ = write_report_by_letter(troubled(wards).folder)
    assert f"Led by {HIDDEN}, with {HIDDEN} and {HIDDEN}." in page.read_text(encoding="utf-8")


def test_what_could_be_computed_for_a_guessed_name_is_left_out(wards: Any) -> None:
    ward = wards.finished()
    evidence = read_evidence(ward.folder)
    page, _ = write_report_by_letter(ward.folder)
    for site in ward.sites:
        assert evidence.history.opened[site].contract_digest not in files(page)
        assert evidence.history.closed[site].head not in files(page)
        assert evidence.history.closed[site].head in files(write_report(ward.folder))
    assert "are left out: they could tell which site is which" in page.read_text(encoding="utf-8")


def test_own_models_are_left_out_for_every_site_was_told_whose_it_scored(wards: Any) -> None:
    ward = wards.new(wards.study(rounds=2)).begin().whole_round(1).whole_round(2)
    ward.say(TrainingEnded(round=2, cause="rounds"))
    ward.compare_own(2, "north", "west").closing_trip(2).finish(2)
    assert "own_model" in files(write_report(ward.folder))  # else the test could not fail
    page, _ = write_report_by_letter(ward.folder, roster=[])
    assert "own_model" not in files(page)
    assert "own model of" not in files(page)
    assert report_data(ward.folder, lettered=True, roster=[])["own_models"] is None


def test_no_list_stands_in_the_order_of_the_names(wards: Any) -> None:
    sites = tuple(f"hospital-{number:02}" for number in range(12))
    ward = wards.new(sites=sites).begin(opened=sites)
    ward.say(ward.opening(1, asked=sites), *(SiteRefused(round=1, site=site, code=WireCode.NO_DATA) for site in sites))
    ward.say(*(SiteLost(round=1, site=site, cause="line_lost") for site in sites))
    reason = f"Too few sites: {', '.join(sites)} are missing."
    ward.say(StudyFailed(reason=reason)).end(StudyState.FAILED, reason=reason, remedy=f"Call {sites[0]}, {sites[1]}.")
    page, key = write_report_by_letter(ward.folder, roster=[])
    shown = page.with_suffix(".csv").read_text(encoding="utf-8")
    for scope in ("refusal", "loss"):
        found = list(dict.fromkeys(re.findall(rf"^{scope},(site [A-Z]+),", shown, re.MULTILINE)))
        assert found == sorted(key)
        assert [key[letter] for letter in found] != sorted(key.values())
    assert "Too few sites: [site], [site]" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("spelled", ["St. Mary", "st mary", "StMary", "ST-MARY", "st_mary"])
def test_a_name_is_known_however_it_is_spelled(spelled: str) -> None:
    letters = Letters(bytes(32), ["st-mary", "ulm"])
    assert letters.hidden(f"Led by {spelled}.") == "Led by [site]."
    assert letters.told(f"{spelled} was cut off") == f"{letters.of('st-mary')} was cut off"


def test_the_figures_are_those_of_the_named_report(wards: Any) -> None:
    ward = wards.finished()
    evidence = read_evidence(ward.folder)
    letters = Letters(letters_key(ward.folder.path), sites_of(evidence))
    one, other = (list(csv.reader(io.StringIO(as_csv(facts_of(e))))) for e in (evidence, by_letter(evidence, letters)))
    secret = {"contract_digest", "ledger_head", "by_letter"}
    plain = {
        (s, letters.of(site) if site else "", n, m, letters.told(v))
        for s, site, n, m, v in one
        if m not in secret and s != "scope"
    }
    assert plain == {tuple(row) for row in other if row[3] not in secret and row[0] != "scope"}
    assert facts_of(by_letter(evidence, letters)).integrity.study_holds


def test_a_class_that_bears_a_site_s_name_is_told_by_its_place(wards: Any) -> None:
    evidence = read_evidence(troubled(wards).folder)
    task = evidence.study.task.model_copy(update={"mode": "multilabel", "classes": ("Ulm", "opacity", "St Mary")})
    named = replace(evidence, study=evidence.study.model_copy(update={"task": task}))
    found = by_letter(named, Letters(b"k", sites_of(named))).study.task.classes
    assert found == ("[class 1]", "opacity", "[class 3]")


def test_rows_stand_in_the_order_of_the_letters(wards: Any) -> None:
    ward = wards.new(sites=tuple(f"ward-{n:02d}" for n in range(29))).begin().whole_round(1).closing_trip(1)
    evidence = read_evidence(ward.folder)
    letters = Letters(letters_key(ward.folder.path), sites_of(evidence))
    facts = facts_of(by_letter(evidence, letters))
    order = [f"site {letter(n)}" for n in range(29)]
    assert [site.site for site in facts.sites] == order
    assert list(facts.rounds[0].seats) == order
    assert [site.site for site in facts.fairness.sites] == order
    assert list(dict.fromkeys(one.site for one in facts.drift.watched)) == order


def test_the_same_folder_gives_the_same_letters_and_another_folder_others(wards: Any) -> None:
    sites = tuple(f"ward-{n:02d}" for n in range(20))
    one, other = (wards.new(sites=sites).begin() for _ in range(2))
    (_, first), (_, again), (_, elsewhere) = (write_report_by_letter(w.folder) for w in (one, one, other))
    assert first == again
    assert first != elsewhere
    assert list(first.values()) != sorted(first.values())  # 20! orders
    assert (one.folder.path / KEY_FILE).stat().st_mode & 0o777 == 0o600


def test_a_key_that_hides_nothing_is_replaced(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"")
    assert len(letters_key(tmp_path)) == 32


def test_two_studies_share_the_letters_of_the_first(wards: Any) -> None:
    one = wards.finished()
    other = wards.new(wards.study(rounds=2), sites=("north", "south", "zeta")).begin().whole_round(1).closing_trip(1)
    found, key = compare_by_letter(one.folder, other.folder)
    plain = compare(one.folder, other.folder)
    assert named(str(found), (*one.sites, "zeta")) == []
    assert key[found.b.worst_site] == plain.b.worst_site
    assert (key["site D"], sorted(key)) == ("zeta", [f"site {letter(n)}" for n in range(4)])
    assert write_report_by_letter(one.folder)[1] == {letter: name for letter, name in key.items() if name != "zeta"}


def test_every_field_of_a_record_that_may_name_a_site_is_known() -> None:
    """A field of a new record that holds a name, or words, must be lettered, too."""
    known = {*ONE, *MANY, *CAUSES, *TEXTS, "study"}
    for record in set(RECORDS.values()) - set(LEFT_OUT):
        hints = get_type_hints(record, include_extras=True)
        found = {name for name in record.model_fields if may_name(hints[name])}
        assert found <= known, (record.__name__, found - known)
    assert may_name(get_type_hints(SiteLost, include_extras=True)["cause"])


def test_a_code_of_ours_is_no_name(wards: Any) -> None:
    ward = wards.new(wards.study(rounds=1), sites=("best", "north")).begin().whole_round(1)
    ward.choose(1, 1)
    evidence = read_evidence(ward.folder)
    choice = facts_of(by_letter(evidence, Letters(b"k", sites_of(evidence)))).choice
    assert choice is not None
    assert (choice.cohort, choice.why) == (("site A", "site B"), facts_of(evidence).choice.why)


def may_name(hint: Any) -> bool:
    """Whether it is made of names or of words, by the bounds of these."""
    return "^[a-z0-9][a-z0-9-]{0,47}$" in str(hint) or "MaxLen(max_length=500)" in str(hint)


@pytest.mark.parametrize(("number", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (27, "AB"), (52, "BA"), (702, "AAA")])
def test_letters_go_on_after_z(number: int, name: str) -> None:
    assert letter(number) == name


@given(st.sets(NAMES, min_size=1, max_size=8), st.binary(min_size=32, max_size=32), st.lists(st.text(max_size=5)))
def test_no_text_keeps_a_name(sites: set[str], key: bytes, between: list[str]) -> None:
    letters = Letters(key, sites)
    text = " ".join(f"{site} {part}" for site, part in zip(sites, [*between, *[""] * len(sites)], strict=False))
    for told in (letters.told(text), letters.hidden(text)):
        rest = re.sub(r"site [A-Z]+|\[site\]", "", told)
        alone = [rf"(?<![a-z0-9]){re.escape(site)}(?![a-z0-9])" for site in sites]
        assert not any(re.search(pattern, rest, re.IGNORECASE) for pattern in alone)


@given(st.sets(NAMES, min_size=2, max_size=12), st.binary(min_size=32, max_size=32))
def test_the_order_of_the_names_plays_no_part(sites: set[str], key: bytes) -> None:
    one, other = Letters(key, sorted(sites)), Letters(key, sorted(sites, reverse=True))
    assert one.key(sites) == other.key(sites)
