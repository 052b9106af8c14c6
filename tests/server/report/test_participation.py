"""Who counted, who did not, and the reason in words."""

from typing import Any

import pytest

from server.claim import AdmissionReason
from server.journal import read_history
from server.records import EpochClaimed, RoundFailed, SiteLost, SiteRefused, UpdateRefused
from server.report.evidence import read_evidence
from server.report.participation import Seat, losses_of, refusals_of, rounds_of
from server.report.words import counted, plain, spans
from shared.errors import WireCode


def rounds(ward: Any) -> Any:
    return rounds_of(read_evidence(ward.folder))


def refused(number: int, site: str, *reasons: AdmissionReason) -> UpdateRefused:
    return UpdateRefused(round=number, site=site, reasons=reasons, detail=f"found in round {number}")


def test_every_kind_of_seat(wards: Any) -> None:
    ward = wards.new(sites=("counts", "late", "lost", "refused", "silent", "unopened"))
    ward.begin(opened=ward.sites[:5]).say(ward.opening(1, asked=ward.sites[:5]))
    for site in ("counts", "late", "refused"):
        ward.say(ward.ready(1, site))
    ward.say(refused(1, "refused", AdmissionReason.NORM), SiteLost(round=1, site="lost", cause="line_lost"))
    absent = {"lost": "line_lost", "silent": "waiting"}
    ward.commit(1, "counts", late={"late": "granted"}, refused={"refused": "norm"}, absent=absent)
    (only,) = rounds(ward)
    assert only.seats == {
        "counts": Seat("counted"),
        "late": Seat("late", "Its update was still on its way when the round closed."),
        "lost": Seat("absent", "The line was lost."),
        "refused": Seat("refused", "The update is far larger than those of the last rounds."),
        "silent": Seat("absent", "It was not connected."),
        "unopened": Seat("not asked", "It had not opened the study."),
    }


def test_a_site_whose_work_counted_later_was_at_work(wards: Any) -> None:
    ward = wards.new().begin()
    for number in (1, 2):
        ward.say(ward.opening(number), ward.ready(number, "north")).commit(number, "north", late={"south": "asked"})
    late = ward.ready(3, "south")
    ward.say(ward.opening(3), *(said.model_copy(update={"late_from": 1}) for said in [late] if late)).commit(3, "south")
    first, second, third = rounds(ward)
    assert first.seats["south"] == second.seats["south"] == Seat("at work", "Its work of round 1 counted in round 3.")
    assert third.seats["south"] == Seat("counted")


def test_a_round_takes_the_time_from_its_last_opening_to_its_commit(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).say(EpochClaimed(epoch=2, pid=2), ward.opening(1, epoch=2))
    ward.say(ward.ready(1, "north")).commit(1, "north")
    (only,) = rounds(ward)
    assert (only.attempts, only.committed, only.seconds) == (2, True, 3.0)  # ready, admitted, committed


def test_a_failed_round_names_who_was_missing(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).say(
        RoundFailed(round=1, counted=("north",), missing={"south": "asked", "west": "waiting"})
    )
    (only,) = rounds(ward)
    assert (only.committed, only.seconds) == (False, None)
    assert [seat.state for seat in only.seats.values()] == ["counted", "absent", "absent"]
    assert only.seats["west"].why == "It was not connected."


def test_a_round_that_failed_and_was_resumed_is_told_by_its_commit(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).say(RoundFailed(round=1, counted=(), missing=dict.fromkeys(ward.sites, "waiting")))
    ward.say(EpochClaimed(epoch=2, pid=2)).whole_round(1)
    (only,) = rounds(ward)
    assert (only.committed, only.attempts, {s.state for s in only.seats.values()}) == (True, 2, {"counted"})


def test_an_open_round_says_that_it_was_not_closed(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(ward.opening(1)).say(ward.ready(1, "north"))
    (only,) = rounds(ward)
    assert (only.seats["north"], only.seats["south"]) == (
        Seat("late", "The round was not closed."),
        Seat("absent", "The round was not closed."),
    )


def test_refusals_are_drawn_together_by_site_and_reason(wards: Any) -> None:
    ward = wards.new().begin()
    for number in (1, 2, 3):
        ward.say(ward.opening(number)).say(refused(number, "south", AdmissionReason.NORM, AdmissionReason.DTYPE))
        ward.commit(number, "north", refused={"south": "norm"})
    ward.say(SiteRefused(round=4, site="south", code=WireCode.OUT_OF_MEMORY))
    by_server, by_site = refusals_of(read_history(ward.folder.path / "journal.jsonl"))
    assert (by_server.site, by_server.by, by_server.rounds) == ("south", "server", (1, 2, 3))
    assert by_server.codes == ("norm", "dtype")
    assert by_server.words == f"{plain('norm')} {plain('dtype')}"
    assert by_server.detail == "found in round 1"
    assert (by_site.by, by_site.words, by_site.rounds) == ("site", plain("out_of_memory"), (4,))


def test_lost_lines_are_counted(wards: Any) -> None:
    ward = wards.new().begin()
    ward.say(*(SiteLost(round=number, site="west", cause="line_lost") for number in (1, 1, 4)))
    (lost,) = losses_of(read_history(ward.folder.path / "journal.jsonl"))
    assert (lost.site, lost.words, lost.rounds, lost.times) == ("west", "The line was lost.", (1, 4), 3)


@pytest.mark.parametrize("code", [*AdmissionReason, *WireCode])
def test_every_code_has_a_sentence(code: str) -> None:
    assert plain(code) != f"{code.capitalize()}."
    assert plain(code)[0].isupper()
    assert plain(code).endswith(".")


def test_what_is_no_code_is_shown_as_a_sentence() -> None:
    assert plain("the upload broke off") == "The upload broke off."


@pytest.mark.parametrize(
    ("numbers", "text"),
    [((), ""), ((3,), "3"), ((1, 2, 3), "1–3"), ((7, 1, 2, 5, 2), "1–2, 5, 7")],  # noqa: RUF001
)
def test_spans(numbers: tuple[int, ...], text: str) -> None:
    assert spans(numbers) == text


def test_counted_nouns() -> None:
    assert (counted(1, "site"), counted(0, "site"), counted(4708, "patient")) == ("1 site", "0 sites", "4,708 patients")
