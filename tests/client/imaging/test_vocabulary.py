"""What a hospital's words mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.imaging.reasons import Reason, SetAside
from client.imaging.vocabulary import Vocabulary
from shared.errors import ConfigError
from shared.study import TaskSpec


@pytest.mark.parametrize(
    ("word", "labels"),
    [("Pneumonia", (1,)), (" PNEUMONIA ", (1,)), ("1", (1,)), ("positive", (1,)), ("0", (0,)), ("Negative", (0,))],
)
def test_binary_words(binary: TaskSpec, word: str, labels: tuple[int, ...]) -> None:
    assert Vocabulary(binary, {}).from_word(word) == labels


def test_multiclass_names_and_numbers(multiclass: TaskSpec) -> None:
    words = Vocabulary(multiclass, {"melanoma": "mel"})
    assert [words.from_word(word) for word in ("bkl", "0", "Melanoma", "2")] == [(2,), (0,), (1,), (2,)]


def test_multilabel_words_joined_by_a_bar(multilabel: TaskSpec) -> None:
    words = Vocabulary(multilabel, {"No Finding": "negative"})
    assert words.from_word("Nodule|mass") == (1, 0, 1)
    assert words.from_word("no finding") == (0, 0, 0)


@pytest.mark.parametrize(("word", "reason"), [("", "unlabelled"), ("  ", "unlabelled"), ("-1", "label_unknown")])
@pytest.mark.parametrize("mode", ["binary", "multiclass", "multilabel"])
def test_what_is_not_understood_is_set_aside(request: pytest.FixtureRequest, mode: str, word: str, reason: str) -> None:
    with pytest.raises(SetAside) as caught:
        Vocabulary(request.getfixturevalue(mode), {}).from_word(word)
    assert caught.value.reason.value == reason


@pytest.mark.parametrize("word", ["3", "-1", "1.5", "²", "9999999999", "nv mel"])
def test_a_class_outside_the_study_is_set_aside(multiclass: TaskSpec, word: str) -> None:
    with pytest.raises(SetAside) as caught:
        Vocabulary(multiclass, {}).from_word(word)
    assert caught.value.reason is Reason.LABEL_UNKNOWN


@pytest.mark.parametrize("word", ["Mass|Cyst", "Mass|", "negative|Mass"])
def test_one_unknown_finding_sets_the_image_aside(multilabel: TaskSpec, word: str) -> None:
    with pytest.raises(SetAside):
        Vocabulary(multilabel, {}).from_word(word)


def test_flags(binary: TaskSpec, multiclass: TaskSpec, multilabel: TaskSpec) -> None:
    assert Vocabulary(binary, {}).from_flags(["1.0"]) == (1,)
    assert Vocabulary(multiclass, {}).from_flags(["0", "0", "1"]) == (2,)
    assert Vocabulary(multilabel, {}).from_flags(["1", "0", "true"]) == (1, 0, 1)


@pytest.mark.parametrize("cells", [["1", "", "0"], ["1", "1", "0"], ["0", "0", "0"], ["1", "-1", "0"]])
def test_flags_of_a_multiclass_line_must_name_one(multiclass: TaskSpec, cells: list[str]) -> None:
    with pytest.raises(SetAside):
        Vocabulary(multiclass, {}).from_flags(cells)


def test_uncertain_flags_can_be_mapped(multilabel: TaskSpec) -> None:
    assert Vocabulary(multilabel, {"-1": "positive"}).from_flags(["-1", "0", "0"]) == (1, 0, 0)


def test_several_classes_can_become_one(binary: TaskSpec) -> None:
    words = Vocabulary(binary, {"bacteria": "Pneumonia", "virus": "Pneumonia", "NORMAL": "negative"})
    assert [words.from_word(word) for word in ("Bacteria", "virus", "normal")] == [(1,), (1,), (0,)]


def test_a_map_to_an_unknown_class_is_refused(binary: TaskSpec) -> None:
    with pytest.raises(ConfigError, match=r'labels\.words .* "Zyste" = "Cyst", "b" = "pneumonie"') as caught:
        Vocabulary(binary, {"Zyste": "Cyst", "Lunge": "pneumonia", "b": "pneumonie"})
    assert "Pneumonia" in caught.value.remedy


def test_numbers_can_be_the_other_way_round(binary: TaskSpec) -> None:
    words = Vocabulary(binary, {"0": "positive", "1": "negative"})
    assert [words.from_word(word) for word in ("0", "1", "pneumonia")] == [(1,), (0,), (1,)]


@pytest.mark.parametrize("mode", ["binary", "multiclass", "multilabel"])
def test_words_that_stand_for_no_label(request: pytest.FixtureRequest, mode: str) -> None:
    words = Vocabulary(request.getfixturevalue(mode), {"n.b.": "unlabelled"})
    for read in (lambda: words.from_word("N.B."), lambda: words.from_flags(["1", "n.b.", "0"])):
        with pytest.raises(SetAside, match="unlabelled"):
            read()
    assert words.unknown_words("n.b.") == ()


def test_the_words_not_understood_are_known(binary: TaskSpec, multilabel: TaskSpec) -> None:
    assert Vocabulary(binary, {}).unknown_words("Mass|Cyst") == ("Mass|Cyst",)
    words = Vocabulary(multilabel, {"Raumforderung": "Mass"})
    assert words.unknown_words("Raumforderung|Cyst|Nodule") == ("Cyst",)
    assert words.unknown_words("Raumforderung|Nodule") == ()
    assert words.unknown_flags(["1", "maybe", "0", "maybe"]) == ("maybe",)


@given(st.text())
def test_any_text_is_a_label_or_set_aside(text: str) -> None:
    task = TaskSpec(mode="multilabel", classes=("Mass", "Effusion"))
    try:
        assert set(Vocabulary(task, {}).from_word(text)) <= {0, 1}
    except SetAside as error:
        assert error.reason in (Reason.UNLABELLED, Reason.LABEL_UNKNOWN)
