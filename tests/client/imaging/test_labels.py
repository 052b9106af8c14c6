"""The hospital's table of labels."""

from collections.abc import Callable
from pathlib import Path

import pytest

from client.imaging.examples import Split
from client.imaging.label_settings import LabelSettings
from client.imaging.labels import Entry, read_labels, split_of
from client.imaging.reasons import Reason, SetAside
from client.imaging.vocabulary import Vocabulary
from shared.errors import ConfigError
from shared.study import TaskSpec

Write = Callable[..., Path]
KEYS = ("file", "accession", "patient")


@pytest.fixture
def words(binary: TaskSpec) -> Vocabulary:
    return Vocabulary(binary, {})


def test_a_line_is_found_by_file(write_table: Write, words: Vocabulary) -> None:
    table = read_labels(
        write_table(["file", "label", "patient", "split"], ["a/1.dcm", "1", "P-1", "test"]), words, keys=KEYS
    )
    assert table.key == "file"
    assert table.find("a/1.dcm") == Entry((1,), "P-1", Split.TEST)


@pytest.mark.parametrize("written", [".\\a\\1.dcm", "./a/1.dcm", " a/1.dcm "])
def test_paths_are_compared_in_one_form(write_table: Write, words: Vocabulary, written: str) -> None:
    table = read_labels(write_table(["file", "label"], [written, "1"]), words, keys=KEYS)
    assert table.find("a/1.dcm").labels == (1,)


@pytest.mark.parametrize("key", ["accession", "patient"])
def test_a_line_is_found_by_another_key(write_table: Write, words: Vocabulary, key: str) -> None:
    table = read_labels(write_table([key, "Label"], [" X-1 ", "0"]), words, keys=KEYS)
    assert (table.key, table.find("X-1").labels) == (key, (0,))


def test_the_best_key_is_taken(write_table: Write, words: Vocabulary) -> None:
    path = write_table(["patient", "accession", "label"], ["P", "A", "1"])
    assert read_labels(path, words, keys=KEYS).find("A") == Entry((1,), "P", None)


def test_one_column_per_class(write_table: Write, multilabel: TaskSpec) -> None:
    path = write_table(["file", "Effusion", "mass", "Nodule", "age"], ["1.png", "1", "0", "1", "44"])
    table = read_labels(path, Vocabulary(multilabel, {}), keys=KEYS)
    assert table.find("1.png").labels == (0, 1, 1)


def test_a_column_named_as_the_positive_class(write_table: Write, words: Vocabulary) -> None:
    path = write_table(["file", "pneumonia"], ["1.png", "1"], ["2.png", "0"])
    table = read_labels(path, words, keys=KEYS)
    assert [table.find(name).labels for name in ("1.png", "2.png")] == [(1,), (0,)]


def test_lines_that_cannot_be_used_say_why(write_table: Write, words: Vocabulary) -> None:
    path = write_table(
        ["file", "label", "split"], ["1", "", ""], ["2", "maybe", ""], ["3", "1", "holdout"], ["4"], ["", "1", ""]
    )
    table = read_labels(path, words, keys=KEYS)
    found = [table.find(name).reason for name in ("1", "2", "3", "4", "5")]
    assert found == ["unlabelled", "label_unknown", "split_unknown", "unlabelled", "unlabelled"]


def test_the_same_line_twice_is_no_conflict_another_one_is(write_table: Write, words: Vocabulary) -> None:
    path = write_table(["file", "label"], ["1", "1"], ["1", "1"], ["2", "1"], ["2", "0"], ["2", "1"])
    table = read_labels(path, words, keys=KEYS)
    assert table.find("1").labels == (1,)
    assert table.find("2") == Entry(None, reason=Reason.LABEL_CONFLICT)


def test_lines_nobody_asked_for_are_counted(write_table: Write, words: Vocabulary) -> None:
    table = read_labels(write_table(["file", "label"], ["1", "1"], ["2", "1"], ["3", "0"]), words, keys=KEYS)
    table.find("2")
    table.find("other")
    assert table.unused == 2


def test_a_byte_order_mark_is_skipped(tmp_path: Path, words: Vocabulary) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("file,label\r\n1.png,1\r\n".encode("utf-8-sig"))
    assert read_labels(path, words, keys=KEYS).find("1.png").labels == (1,)


GERMAN = "Auftragsnr;PatNr;Befund\r\nA-1;P-1;Rundherd\r\nA-2;P-2;unauff\u00e4llig\r\n"
COLUMNS = {"auftragsnr": "accession", "PatNr": "patient", "Befund": "label"}


@pytest.mark.parametrize(
    ("encoding", "text"), [("utf-8", GERMAN), ("windows-1252", GERMAN), ("utf-16", GERMAN.replace(";", "\t"))]
)
def test_a_table_as_a_german_spreadsheet_writes_it(tmp_path: Path, binary: TaskSpec, encoding: str, text: str) -> None:
    (tmp_path / "labels.csv").write_bytes(text.encode(encoding))
    settings = LabelSettings.model_validate({"encoding": encoding, "columns": COLUMNS})
    words = Vocabulary(binary, {"Rundherd": "pneumonia", "UNAUFF\u00c4LLIG": "negative"})
    table = read_labels(tmp_path / "labels.csv", words, keys=KEYS, settings=settings)
    assert table.key == "accession"
    assert [table.find(name) for name in ("A-1", "A-2")] == [Entry((1,), "P-1"), Entry((0,), "P-2")]


def test_a_column_per_class_under_the_sites_names(write_table: Write, multilabel: TaskSpec) -> None:
    path = write_table(["file", "Erguss", "Mass", "Nodule"], ["1.png", "1", "0", "0"])
    settings = LabelSettings(columns={"Erguss": "Effusion"})
    assert read_labels(path, Vocabulary(multilabel, {}), keys=KEYS, settings=settings).find("1.png").labels == (0, 1, 0)


def test_a_column_that_another_is_called_by_gives_way(write_table: Write, words: Vocabulary) -> None:
    path = write_table(["file", "label", "Zweitbefund"], ["1", "0", "1"])
    settings = LabelSettings(columns={"Zweitbefund": "label"})
    assert read_labels(path, words, keys=KEYS, settings=settings).find("1").labels == (1,)


def test_a_mapping_of_a_column_that_is_not_there_is_refused(write_table: Write, words: Vocabulary) -> None:
    path = write_table(["file", "SECRET"], ["1", "1"])
    with pytest.raises(ConfigError, match='no column "Befnd", which') as caught:
        read_labels(path, words, keys=KEYS, settings=LabelSettings(columns={"Befnd": "label"}))
    assert "SECRET" not in str(caught.value)


def test_another_encoding_is_said(tmp_path: Path, words: Vocabulary) -> None:
    (tmp_path / "labels.csv").write_bytes(GERMAN.encode("windows-1252"))
    with pytest.raises(ConfigError, match=r"as utf-8 \(labels.encoding\)"):
        read_labels(tmp_path / "labels.csv", words, keys=KEYS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column `file`"),
        (b"name,label\n", "no column `file`"),
        (b"file,finding\n", "neither a column"),
        (b"file,label\nSECRET\xff,1\n", "cannot be read"),
        (b'file,label\n1.png,1\n"SECRET" x,1\n', "beyond line 2"),
        (b"file,crp,label\n1.png,1.5,0\n2.png,1,5,SECRET\n", "more cells in line 3"),
        (b"file,label,Label\n1.png,1,SECRET\n", "several columns label"),
        (b"File,file,label\n1.png,SECRET,1\n", "several columns file"),
        (b"file,pneumonia,pneumonia \n1.png,1,0\n", "several columns pneumonia"),
        (b"file,label\n" + b"SECRET" * 30000 + b",1\n", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused_without_quoting_it(
    tmp_path: Path, words: Vocabulary, content: bytes, message: str
) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_labels(path, words, keys=KEYS)
    assert "SECRET" not in str(caught.value)


def test_empty_cells_at_the_end_and_columns_that_nobody_reads_do_no_harm(write_table: Write, words: Vocabulary) -> None:
    path = write_table(["file", "label", "note", "note", "", ""], ["1.png", "1", "x", "y", "", "", "", " "])
    assert read_labels(path, words, keys=KEYS).find("1.png").labels == (1,)


def test_a_missing_table_is_refused(tmp_path: Path, words: Vocabulary) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_labels(tmp_path / "absent.csv", words, keys=KEYS)


def test_split_words() -> None:
    assert [split_of(word) for word in ("Train", "val", "validation", " test ", "")] == [
        Split.TRAIN,
        Split.VALIDATION,
        Split.VALIDATION,
        Split.TEST,
        None,
    ]
    with pytest.raises(SetAside):
        split_of("holdout")
