"""What a rehearsal's answers add up to: the slowest site, what to mend, what may be better."""

import re
import tomllib

import pytest

from server.forecast import Seen, forecast, sites_of
from server.history import StudyHistory
from server.records import RehearsalClosed, RehearsalOpened, SiteRehearsed, StudyStarted
from shared.rehearsal import Check, Code, Outcome
from shared.study import Study, parse_study

STUDY = """
[study]
name = "lungs"
[task]
classes = ["opacity"]
[training]
epochs_per_round = 1
[rounds]
count = 10
quorum = 2
deadline_s = {deadline}
{more}
"""


def study(*, deadline: int = 3600, more: str = "") -> Study:
    return parse_study(STUDY.format(deadline=deadline, more=more))


def sites(**seconds: float) -> tuple[Seen, ...]:
    return tuple(Seen(site, {Check.WORK: Code.PASS}, work_s, 1.0) for site, work_s in seconds.items())


def test_a_round_waits_for_the_slowest_site_and_the_way_there_and_back() -> None:
    found = forecast(study(), sites(north=40.0, south=60.0, east=50.0))
    assert (found.round_s, found.study_s, found.slowest) == (62.0, 620.0, "south")  # and half a second for each trip
    assert found.ready
    assert found.remarks == found.advice == ()


def test_what_is_to_be_mended_is_told_with_its_remedy() -> None:
    broken = Seen("west", {Check.DEVICE: Code.FELL_BACK_TO_CPU, Check.IMAGES: Code.NOT_FOUND})
    found = forecast(study(), (*sites(north=40.0), broken))
    assert [(r.site, r.check, r.outcome, r.code) for r in found.remarks] == [
        ("west", "device", Outcome.WARN, "fell_back_to_cpu"),
        ("west", "images", Outcome.FIX, "not_found"),
    ]
    assert all(remark.remedy for remark in found.remarks)
    assert not found.ready


def test_a_site_that_says_nothing_of_the_work_is_not_ready() -> None:
    found = forecast(study(), (*sites(north=40.0), Seen("west", {})))
    assert [(remark.site, remark.check, remark.code) for remark in found.remarks] == [("west", "answer", "incomplete")]
    assert not found.ready


def test_a_warning_alone_holds_nothing_up() -> None:
    assert forecast(study(), (Seen("west", {Check.IMAGES: Code.ONE_CLASS}, 1.0, 0.0),)).ready


def test_a_site_far_slower_than_the_others_brings_advice() -> None:
    found = forecast(study(), sites(north=10.0, south=100.0, east=11.0))
    words = " ".join(found.advice)
    assert "south takes 9.1 times as long" in words
    assert "training.seconds_per_round = 11 " in words
    assert "rounds.grace_s = 11 " in words
    assert 'rounds.late = "next"' in words
    assert 'Or, instead of rounds.grace_s, with rounds.buffer = 2 and rounds.late = "next" a round closes' in words
    grace = forecast(study(more="grace_s = 5\nlate = 'next'"), sites(north=10.0, south=100.0, east=11.0))
    assert len(grace.advice) == 2
    buffered = forecast(study(more="buffer = 2"), sites(north=10.0, south=100.0, east=11.0))
    assert len(buffered.advice) == 2


def with_keys(lines: list[str]) -> Study:
    """The study with every key that these lines of advice name."""
    fields = study(more="late = 'drop'").model_dump(exclude_none=True, exclude_unset=True)
    for section, key, value in re.findall(r"(training|rounds)\.(\w+) = (\S+)", " ".join(lines)):
        fields[section] |= tomllib.loads(f"{key} = {value}")
    if "seconds_per_round" in fields["training"]:
        del fields["training"]["epochs_per_round"]
    return Study.model_validate(fields)


def test_what_is_advised_together_goes_together_and_so_does_each_alternative() -> None:
    advice = forecast(study(), sites(north=10.0, south=100.0, east=11.0)).advice
    (instead,) = (line for line in advice if line.startswith("Or, instead of rounds.grace_s"))
    together = with_keys([line for line in advice if line != instead])
    assert (together.rounds.grace_s, together.rounds.buffer) == (11.0, None)
    other = with_keys([line for line in advice if "With rounds.grace_s" not in line])
    assert (other.rounds.grace_s, other.rounds.buffer) == (None, 2)
    assert with_keys([instead]).rounds.buffer == 2


def test_short_rounds_are_as_long_as_their_trips() -> None:
    found = forecast(study(), (Seen("north", {}, 0.05, 0.1),))
    assert (found.round_s, found.study_s) == (0.75, 8.7)  # ten rounds, the opening and the closing trip
    best = parse_study(STUDY.format(deadline=60, more="[selection]\nmodel = 'best'"))
    assert forecast(best, (Seen("north", {}, 0.05, 0.1),)).study_s == 9.3  # and one for validation


def test_a_line_that_takes_longer_than_the_work_is_named() -> None:
    found = forecast(study(), (Seen("north", {}, 10.0, 30.0),))
    assert found.round_s == 70.0
    assert "north is on the line for 60 s" in found.advice[0]


@pytest.mark.parametrize(("slow", "outcome"), [(1, Outcome.WARN), (2, Outcome.FIX)])
def test_a_deadline_that_is_too_short_is_grave_where_the_quorum_is_lost(slow: int, outcome: Outcome) -> None:
    times = {"north": 10.0, "south": 10.0 if slow == 1 else 100.0, "east": 100.0}
    found = forecast(study(deadline=60), sites(**times))
    assert [remark.outcome for remark in found.remarks] == [outcome] * slow
    assert "Set rounds.deadline_s to 150 or more" in found.remarks[0].remedy


def test_what_is_advised_is_allowed_and_what_is_foreseen_has_no_bound() -> None:
    weeks = forecast(study(deadline=60), sites(north=500_000.0, south=1.0, east=1.0))
    assert "Set rounds.deadline_s to 604800 or more" in weeks.remarks[0].remedy
    for_ever = forecast(study(deadline=60), sites(north=9e6, south=8e6, east=9e5))
    assert [remark.remedy for remark in for_ever.remarks] == [
        "Ask for fewer steps: rounds.deadline_s cannot be as long."
    ] * 3
    assert for_ever.study_s == 9e7
    unequal = forecast(study(deadline=60), sites(north=9e6, south=9e5, east=9e5))
    assert not [line for line in unequal.advice if "_s = " in line or "seconds_per_round" in line]


def test_a_study_that_scores_has_one_round() -> None:
    scoring = study().model_dump() | {"study": {"name": "lungs", "kind": "evaluate"}, "training": None}
    scoring["model"]["start_sha256"] = "0" * 64
    found = forecast(Study.model_validate(scoring), sites(north=40.0))
    assert (found.round_s, found.study_s) == (42.0, 44.0)  # with the opening


def test_the_journal_names_everybody_who_was_asked() -> None:
    cohort = ("east", "north", "south", "west")
    told = StudyHistory.replay(
        [
            StudyStarted(study="lungs-rehearsal", study_digest="0" * 64, start_digest="1" * 64, cohort=cohort),
            RehearsalOpened(epoch=1, deadline_s=60),
            SiteRehearsed(site="north", findings={Check.WORK: Code.PASS, Check.CLOCK: Code.PASS}, work_s=2.0),
            RehearsalClosed(missing={"east": "asked", "south": "protocol", "west": "waiting"}),
        ]
    )
    found = forecast(study(), sites_of(told))
    assert [(r.site, r.check, r.code) for r in found.remarks] == [
        ("east", "answer", "asked"),
        ("south", "version", "another_version"),
        ("west", "answer", "waiting"),
    ]
    assert list(sites_of(told)[1].findings) == [Check.CLOCK, Check.WORK]
    assert (found.ready, found.round_s) == (False, 2.5)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("lost", "line"),
        ("line_lost", "line"),
        ("contract", "contract"),
        ("removed", "roster"),
        ("too_often", "day"),
        ("bad_signature", "signed"),
        ("malformed", "does not fit"),
    ],
)
def test_every_way_to_be_missing_has_words(cause: str, words: str) -> None:
    (remark,) = forecast(study(), (Seen("west", missing=cause),)).remarks
    assert words in remark.what
    assert remark.outcome is Outcome.FIX


def test_a_site_that_had_not_answered_may_have_been_busy_elsewhere() -> None:
    (remark,) = forecast(study(), (Seen("west", missing="asked"),)).remarks
    assert "another study" in remark.remedy
