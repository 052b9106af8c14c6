"""Which unknown words hospital IT may see."""

from client.imaging.unmapped import Unmapped


def test_a_word_of_enough_patients_is_shown_and_no_other() -> None:
    unmapped = Unmapped()
    for number in range(12):
        unmapped.note((" Zyste", f"Planted^Name {number}"), f"patient {number}")
        unmapped.note(("M\u00fcller",), "one patient with many images")
        unmapped.note(("nobody's",), None)
        unmapped.note(("a sentence in the wrong column, which is no word", "\x1b[2J"), f"patient {number}")
    assert unmapped.shown(smallest_cell=11) == {"zyste": 12}
    assert unmapped.shown(smallest_cell=13) == {}


def test_the_most_frequent_comes_first() -> None:
    unmapped = Unmapped()
    for word, patients in (("few", 2), ("many", 3), ("also few", 2)):
        for number in range(patients):
            unmapped.note((word,), str(number))
    assert list(unmapped.shown(smallest_cell=1).items()) == [("many", 3), ("also few", 2), ("few", 2)]
