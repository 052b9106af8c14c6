"""A replay asks the same of the same sites, and says where it parts from the first run and what else differs."""

import itertools
from typing import Any

import pytest

from server.cli.replaying import answer_of
from server.history import StudyHistory
from server.record import Record
from server.records import (
    EpochClaimed,
    ModelChosen,
    RoundCommitted,
    RoundOpened,
    SiteOpened,
    StudyStarted,
    TrainingEnded,
    UpdateAdmitted,
    UpdateReady,
)
from server.replay import Difference, Replayed, compare_runs, replay_of
from shared.study import parse_study

MODELS = {"a": "a" * 64, "b": "b" * 64, "c": "c" * 64, "x": "e" * 64}
STUDY = parse_study("""
    [study]
    name = "lungs"
    seed = 7
    [task]
    classes = ["opacity"]
    [training]
    steps_per_round = 2
    [rounds]
    quorum = 2
""")


def run(models: str = "abc", *, without: int = 0, **machine: Any) -> StudyHistory:
    """A run whose models are these, the start model's first; in round `without` the south does not count."""
    digests = [MODELS[name] for name in models]
    records: list[Record] = [
        StudyStarted(study="lungs", study_digest="0" * 64, start_digest=digests[0], cohort=("north", "south")),
        EpochClaimed(epoch=1, pid=1),
    ]
    said = {"contract_digest": "0" * 64, "patients": {"train": 5}, "examples": {}, "device": "cpu", "threads": 1}
    records += [SiteOpened(site=site, **said | machine) for site in ("north", "south")]
    for number, (before, model) in enumerate(itertools.pairwise(digests), start=1):
        counted = ("north",) if number == without else ("north", "south")
        update = {"round": number, "update_digest": model, "examples": 5, "norm": 1.0}
        records.append(RoundOpened(round=number, epoch=1, model_digest=before, cohort=counted))
        records += [UpdateAdmitted(site=site, **update) for site in counted]
        committed = {"round": number, "epoch": 1, "model_digest": model, "previous_digest": before}
        records.append(RoundCommitted(**committed, counted=counted))
    return StudyHistory.replay(records)


def test_the_same_is_asked_of_the_same_sites_under_a_free_name() -> None:
    again = replay_of(STUDY, ("north", "south"), taken={"lungs", "lungs-replay"})
    assert (again.name, again.rounds.sites) == ("lungs-replay-2", ("north", "south"))
    assert again.model_dump(exclude={"study": {"name"}, "rounds": {"sites"}}) == STUDY.model_dump(
        exclude={"study": {"name"}, "rounds": {"sites"}}
    )
    long = STUDY.model_copy(update={"study": STUDY.study.model_copy(update={"name": "x" * 48})})
    assert replay_of(long, ("north",), taken=set()).name == "x" * 41 + "-replay"


def test_equal_models_are_bit_identical() -> None:
    found = compare_runs(run(), run())
    assert found == Replayed(rounds=2, first_difference=None, other_updates=None, same_choice=True, differ=())
    assert found.bit_identical


@pytest.mark.parametrize(("models", "first"), [("xbc", 0), ("axc", 1), ("abx", 2), ("ab", 2), ("abcx", 3)])
def test_the_first_model_that_differs_is_named(models: str, first: int) -> None:
    assert compare_runs(run(), run(models)).first_difference == first


def test_what_else_differs_is_named_first() -> None:
    found = compare_runs(run(), run("axc", without=1, threads=4, software={"torch": "2"}))
    of_sites = [Difference("threads", site, "1", "4") for site in ("north", "south")]
    assert [d for d in found.differ if d.what == "threads"] == of_sites
    assert [d.before for d in found.differ if d.what == "torch"] == ["absent", "absent"]
    assert found.differ[-1] == Difference("counted", None, "north, south", "north", round=1)


def test_the_answer_is_no_with_the_round_where_they_part() -> None:
    said = answer_of("lungs", "lungs-replay", compare_runs(run(), run("axc")))
    assert (said.data["bit_identical"], said.data["first_difference"]) == (False, 1)
    assert said.error is not None
    assert "differs from lungs first in round 1" in said.error.what
    assert answer_of("lungs", "lungs-replay", compare_runs(run(), run())).error is None


def choosing(number: int, *cohort: str) -> StudyHistory:
    """A run that takes the model of this round, by the scores of these sites."""
    history = run()
    history.apply(TrainingEnded(round=2, cause="rounds"))
    said: dict[str, Any] = {"cause": "best", "metric": "auroc", "value": 0.9, "candidates": (0, 1, 2)}
    history.apply(ModelChosen(round=number, model_digest=MODELS["abc"[number]], cohort=cohort, **said))
    return history


def test_another_choice_among_the_same_models_is_not_identical() -> None:
    found = compare_runs(choosing(1, "north", "south"), choosing(2, "north"))
    assert (found.first_difference, found.bit_identical) == (None, False)
    assert found.differ == (Difference("chosen by", None, "north, south, of 3", "north, of 3", round=1),)
    said = answer_of("lungs", "lungs-replay", found)
    assert said.error is not None
    assert "differs from lungs first in which model was chosen" in said.error.what


def test_the_same_choice_is_identical() -> None:
    assert compare_runs(choosing(1, "north"), choosing(1, "north")).bit_identical


def test_in_a_buffered_study_other_arrivals_explain_other_models() -> None:
    found = compare_runs(run(), run("abx", without=2))
    assert (found.first_difference, found.other_updates) == (2, 2)
    said = answer_of("lungs", "lungs-replay", found, buffered=True)
    assert said.error is not None
    assert "first in round 2: other updates came in there, the 1 model before it is the same" in said.error.what
    assert "takes updates as they come" in said.error.remedy


def test_work_of_another_round_is_another_update() -> None:
    late = run("abx")
    late.readies.append(
        UpdateReady(
            **{"round": 2, "site": "north", "update_digest": "e" * 64, "update_bytes": 1, "examples": 5},
            **{"patients": 5, "steps": 2, "replayed": False, "late_from": 1},
        )
    )
    found = compare_runs(run(), late)
    assert found.other_updates == 2
    assert found.differ == (Difference("counted", None, "north, south", "north (of round 1), south", round=2),)


def test_what_differs_before_other_updates_came_is_no_matter_of_arrivals() -> None:
    said = answer_of("lungs", "lungs-replay", compare_runs(run(), run("axc", without=2)), buffered=True)
    assert said.error is not None
    assert said.error.what.endswith("first in round 1.")
    assert "See what differs above" in said.error.remedy
