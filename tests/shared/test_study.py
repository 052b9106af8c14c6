"""What a study may ask for, and which of its keys do not go together."""

from typing import Any

import pytest

from shared.errors import ConfigError
from shared.study import LONGEST_STUDY, Study, parse_study
from shared.task_words import asked_in_words

STUDY = """
[study]
name = "chest"
[task]
classes = ["opacity"]
[training]
{training}
[rounds]
{rounds}
"""


def study(training: str = "epochs_per_round = 1", rounds: str = "count = 3") -> Any:
    return parse_study(STUDY.format(training=training, rounds=rounds))


@pytest.mark.parametrize(
    "training",
    ["", "epochs_per_round = 1\nsteps_per_round = 3", "steps_per_round = 0\nseconds_per_round = 5"],
)
def test_a_round_has_one_length(training: str) -> None:
    with pytest.raises(ConfigError, match="give one of epochs_per_round, steps_per_round and seconds_per_round"):
        study(training)


def test_the_time_of_a_round_ends_before_its_deadline() -> None:
    assert study("seconds_per_round = 50", "deadline_s = 60").training.seconds_per_round == 50
    with pytest.raises(ConfigError, match="leaves no time before"):
        study("seconds_per_round = 60", "deadline_s = 60")


@pytest.mark.parametrize(("written", "sample"), [("4", 4), ("0.25", 0.25), ("1", 1)])
def test_a_sample_is_a_number_or_a_share_and_stays_that_on_its_way(written: str, sample: float) -> None:
    asked = study(rounds=f"sample = {written}")
    sent = type(asked).model_validate_json(asked.canonical())
    for rounds in (asked.rounds, sent.rounds):
        assert (rounds.sample, type(rounds.sample)) == (sample, type(sample))


@pytest.mark.parametrize("written", ["0", "0.0", "1.5", "-1"])
def test_no_other_sample_is_taken(written: str) -> None:
    with pytest.raises(ConfigError, match=r"rounds\.sample"):
        study(rounds=f"sample = {written}")


@pytest.mark.parametrize("key", ["quorum", "buffer", "sample", "count", "deadline_s"])
@pytest.mark.parametrize("written", ["true", '"2"'])
def test_a_truth_or_a_text_is_no_number(key: str, written: str) -> None:
    with pytest.raises(ConfigError, match=rf"rounds\.{key}.*: Input should be a valid (integer|number)"):
        study(rounds=f"{key} = {written}")


def test_a_site_is_named_once() -> None:
    with pytest.raises(ConfigError, match=r"rounds\.sites: named more than once: north, west$"):
        study(rounds='sites = ["west", "north", "east", "north", "west"]')


def test_a_sample_below_the_quorum_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample is smaller than quorum"):
        study(rounds="sample = 2\nquorum = 3")


def test_scaffold_does_not_go_with_steps_by_time() -> None:
    with pytest.raises(ConfigError, match="as many steps of every site"):
        study('algorithm = "scaffold"\nmomentum = 0\nseconds_per_round = 5')


@pytest.mark.parametrize("algorithm", ["scaffold", "fedbn"])
def test_late_work_does_not_go_with_what_a_site_keeps(algorithm: str) -> None:
    with pytest.raises(ConfigError, match="would be stale"):
        study(f'algorithm = "{algorithm}"\nmomentum = 0\nsteps_per_round = 5', 'late = "next"')


def test_a_buffer_brings_late_work_along_and_survives_its_way() -> None:
    asked = study(rounds="buffer = 3\nquorum = 2")
    sent = type(asked).model_validate_json(asked.canonical())
    for rounds in (asked.rounds, sent.rounds):
        assert (rounds.buffer, rounds.late, rounds.grace_s, rounds.quorum) == (3, "next", None, 2)
    assert study(rounds='buffer = 3\nlate = "next"').digest() == study(rounds="buffer = 3").digest()


@pytest.mark.parametrize(
    ("rounds", "why"),
    [
        ('buffer = 2\nlate = "drop"', "buffer goes with late = next"),
        ("buffer = 2\ngrace_s = 0", "buffer does not go with grace_s"),
        ("buffer = 2\nquorum = 3", "quorum is larger than buffer"),
        ("buffer = 2\nsample = 4", "buffer does not go with sample"),
        ('buffer = 2\nsites = ["a"]', "larger than the number of rounds.sites"),
        ("buffer = 0", "rounds.buffer"),
    ],
)
def test_what_contradicts_a_buffer_is_refused(rounds: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        study(rounds=rounds)


@pytest.mark.parametrize(
    ("algorithm", "why"),
    [("scaffold", "would be stale"), ("fedbn", "would be stale"), ("fednova", "compares the steps")],
)
def test_methods_that_do_not_go_with_a_buffer_are_refused(algorithm: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        study(f'algorithm = "{algorithm}"\nmomentum = 0\nsteps_per_round = 5', "buffer = 2")


@pytest.mark.parametrize("selection", ['model = "best"', "patience_rounds = 3"])
def test_a_buffer_does_not_go_with_a_selection(selection: str) -> None:
    with pytest.raises(ConfigError, match="the fast sites alone would judge"):
        parse_study(STUDY.format(training="epochs_per_round = 1", rounds="buffer = 2") + f"[selection]\n{selection}\n")


# ------------------------------------------------------------ [selection]


def selecting(selection: str, *, training: str = "epochs_per_round = 1", rounds: str = "count = 3") -> Study:
    return parse_study(STUDY.format(training=training, rounds=rounds) + f"[selection]\n{selection}\n")


def test_the_trips_follow_the_rounds_and_the_closing_trip_comes_last() -> None:
    asked = [selecting(text) for text in ("", "patience_rounds = 2", 'model = "best"')]
    assert [study.closing_number for study in asked] == [4, 4, 5]
    crossed = selecting('model = "best"\ncross_site = true', rounds='count = 3\nsites = ["b", "a"]')
    assert (crossed.closing_number, crossed.cross_sites) == (7, ("a", "b"))


@pytest.mark.parametrize(
    ("selection", "others", "words"),
    [
        ('model = "best"', {"rounds": "count = 3\nsample = 2"}, "rounds.sample has each model scored by other sites"),
        ("patience_rounds = 2", {"rounds": "count = 3\nsample = 0.5"}, "could not compare them"),
        ('model = "best"', {"training": 'algorithm = "fedbn"\nsteps_per_round = 2'}, "fedbn goes with selection.model"),
        ("min_gain = 0.1", {}, "min_gain goes with patience_rounds"),
        ("cross_site = true", {}, "cross_site needs rounds.sites"),
        (
            "cross_site = true",
            {"rounds": 'sites = ["a", "b"]', "training": 'algorithm = "fedbn"\nsteps_per_round = 2'},
            "cross_site does not go with fedbn",
        ),
    ],
)
def test_a_selection_that_could_not_be_fair_is_refused(selection: str, others: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        selecting(selection, **others)


def test_fedbn_may_stop_early_and_keeps_its_last_model() -> None:
    assert selecting("patience_rounds = 2", training='algorithm = "fedbn"\nsteps_per_round = 2').selection.compares


def test_a_study_that_only_scores_has_nothing_to_select_from() -> None:
    text = STUDY.replace('name = "chest"', 'name = "chest"\nkind = "evaluate"').replace("[training]\n{training}", "")
    model = f'[model]\nstart_sha256 = "{"0" * 64}"\n'
    with pytest.raises(ConfigError, match="has one model"):
        parse_study(text.format(rounds="") + model + '[selection]\nmodel = "best"\n')


def test_more_sites_than_a_ledger_s_entry_names_are_refused() -> None:
    named = ", ".join(f'"{n:0>48}"' for n in range(10_001))
    with pytest.raises(ConfigError, match=r"rounds\.sites"):
        study(rounds=f"sites = [{named}]")


MASKS = """
[study]
name = "lesions"
[task]
kind = "segmentation"
{task}
[model]
name = "{model}"
[training]
epochs_per_round = 1
{more}
"""


AGE = "[clinical.age]\nlow = 0\nhigh = 100\nmean = 50\nsd = 10"


def masks(task: str = 'classes = ["lesion"]', model: str = "unet", more: str = "") -> Study:
    return parse_study(MASKS.format(task=task, model=model, more=more))


def test_the_question_of_masks_is_where() -> None:
    assert asked_in_words(masks().task) == "where an image shows lesion"


def test_structures_have_a_logit_each_and_several_one_more_for_none_of_them() -> None:
    assert masks().task.outputs == 1
    assert masks('mode = "multiclass"\nclasses = ["liver", "spleen"]', "segresnet").task.outputs == 3


@pytest.mark.parametrize(
    ("task", "model", "more", "fault"),
    [
        ('classes = ["a", "b"]', "unet", "", "exactly one class"),
        ('mode = "multiclass"\nclasses = ["a"]', "unet", "", "one structure is a binary task"),
        ('mode = "multilabel"\nclasses = ["a", "b"]', "unet", "", "nothing overlaps"),
        ('classes = ["a"]', "basic_cnn", "", "goes with model.name = unet or segresnet"),
        ('classes = ["a"]', "unet", '[selection]\nmetric = "auroc"', "is one of dice, loss, and not auroc"),
        ('classes = ["a"]', "unet", AGE, r"\[clinical\] goes with classification"),
    ],
)
def test_what_does_not_go_with_segmentation_is_refused(task: str, model: str, more: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        masks(task, model, more)


def test_classes_are_not_told_by_a_network_that_masks_nor_judged_by_dice() -> None:
    with pytest.raises(ConfigError, match=r"goes with task\.kind = segmentation"):
        parse_study(STUDY.format(training="epochs_per_round = 1", rounds="") + '[model]\nname = "unet"')
    with pytest.raises(ConfigError, match="is one of auroc, balanced_accuracy, loss, and not dice"):
        parse_study(STUDY.format(training="epochs_per_round = 1", rounds="") + '[selection]\nmetric = "dice"')


def test_models_that_segment_are_compared_by_dice_unless_it_is_said() -> None:
    assert masks().selection.metric == "dice"
    assert masks(more='[selection]\nmodel = "best"').selection.metric == "dice"
    assert masks(more='[selection]\nmetric = "loss"').selection.metric == "loss"
    assert study().selection.metric == "auroc"
    sent = Study.model_validate_json(masks().canonical())
    assert sent == masks()


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 100_000, "a = 1\n" + "#" * LONGEST_STUDY, '[study]\nname = "../../x"\n']
)
def test_text_that_is_to_do_harm_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ConfigError, match="study"):
        parse_study(text)
