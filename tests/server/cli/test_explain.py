"""`study check` says in plain words what the rounds' keys mean."""

from server.cli.explain import explain_augmentation, explain_learning, explain_length, explain_rounds, explain_selection
from shared.schedule import RoundsSpec
from shared.selection import SelectionSpec
from shared.training import TrainingSpec


def said(**keys: object) -> str:
    return " ".join(explain_rounds(RoundsSpec.model_validate(keys)))


def test_what_is_not_set_is_not_explained() -> None:
    assert said() == ""


def test_the_grace_is_explained() -> None:
    assert "Once 3 counted, the round waits 20 s more" in said(quorum=3, grace_s=20)


def test_late_work_is_explained_with_its_weight() -> None:
    assert "it weighs 71% of its examples" in said(late="next")
    assert "it weighs 50% of its examples" in said(late="next", staleness_exponent=1)


def test_a_buffer_is_explained_with_what_becomes_of_the_slow() -> None:
    words = said(buffer=2)
    assert "closes as soon as 2 sites counted; nobody is waited for" in words
    assert "one round late by 71% of its change, nine rounds late by 32%" in words
    assert "cannot be repeated byte for byte" in words
    assert "in the place of new work" not in words


def test_a_sample_is_explained_as_a_number_or_a_share() -> None:
    assert "Each round asks 20 sites alone" in said(sample=20)
    assert "Each round asks 10% of the sites alone" in said(sample=0.1)


def test_the_length_of_a_round_is_explained_in_its_own_unit() -> None:
    said = [explain_length(TrainingSpec.model_validate(keys)) for keys in (
        {"epochs_per_round": 2}, {"steps_per_round": 0}, {"seconds_per_round": 90},
    )]  # fmt: skip
    assert said[:2] == ["2 epochs", "0 steps"]
    assert "fit into 90 s of its own clock" in said[2]


def test_how_rare_classes_count_is_explained() -> None:
    def said(**keys: object) -> str:
        return " ".join(explain_learning(TrainingSpec.model_validate({"epochs_per_round": 1, **keys})))

    assert said() == ""
    assert "each class that a site has weighs alike" in said(loss="weighted")
    assert "focal (gamma 2)" in said(loss="focal")
    assert "is drawn alike often, but no image more than about ten times" in said(sampling="class_balanced")
    assert "shares from Beta(0.2, 0.2)" in said(mixup=0.2)
    assert "falls from 0.002 along a cosine" in said(schedule="cosine", learning_rate=0.002)


def test_how_images_are_varied_is_explained() -> None:
    assert explain_augmentation("none") == []
    assert "never mirrored" in explain_augmentation("xray")[0]
    assert "mirrored and turned by quarters" in explain_augmentation("dermoscopy")[0]


def test_the_final_model_is_explained_and_what_it_costs() -> None:
    def said(**keys: object) -> str:
        return " ".join(explain_selection(SelectionSpec.model_validate(keys), rounds=10, model_bytes=2_000_000))

    assert said() == "The final model is the last one."
    early = said(patience_rounds=3, min_gain=0.01, metric="loss")
    assert "after 3 models in a row that did not beat the best before by more than 0.01 (loss" in early
    assert "The final model is the last one." in early
    best = said(model="best", metric="balanced_accuracy")
    assert "the best balanced accuracy on the validation patients of all sites together" in best
    assert "the model of every round, up to 20.0 MB" in best


def test_that_own_models_travel_is_explained_with_whose_and_what_they_tell() -> None:
    spec = SelectionSpec(cross_site=True)
    said = " ".join(explain_selection(spec, rounds=10, model_bytes=1, sites=("north", "south")))
    assert "2 further models go to every site" in said
    assert "the own models of north, south" in said
    assert "from it the other sites can work out that update" in said


def test_who_keeps_updates_says_so() -> None:
    assert "keeps every update" not in said()
    assert "keeps every update" in said(keep_updates=True)
