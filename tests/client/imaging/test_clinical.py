"""What a hospital's table knows of a patient beside the image."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client.imaging.account import account
from client.imaging.cache import prepare
from client.imaging.catalogue import Catalogue, Row
from client.imaging.clinical import ClinicalReader, Missing, merged
from client.imaging.label_settings import LabelSettings
from client.imaging.labels import read_labels
from client.imaging.npz import ArraySource
from client.imaging.settings import DataSettings
from client.imaging.vocabulary import Vocabulary
from shared.clinical import ClinicalColumn
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.study import TaskSpec

COLUMNS = {
    "age": ClinicalColumn(unit="years", low=0, high=120),
    "creatinine": ClinicalColumn(unit="umol/l", molar_mass=113.12, low=10, high=2000),
    "sex": ClinicalColumn(kind="category", values=("female", "male")),
}
GERMAN = LabelSettings.model_validate(
    {
        "decimal": ",",
        "clinical": {
            "Krea": {"name": "creatinine", "unit": "mg/dl", "words": {"< 0,3": "0,3"}},
            "Geschl": {"name": "sex", "words": {"w": "female", "m": "male", "d": "missing"}},
        },
    }
)


def read(**cells: str) -> Mapping[str, float | Missing]:
    return ClinicalReader(COLUMNS, GERMAN).read({"age": "50", "krea": "1,0", "geschl": "m"} | cells)


def test_words_and_units_become_the_studys() -> None:
    assert read() == {"age": 50, "creatinine": pytest.approx(88.4, rel=1e-3), "sex": 1}
    assert read(krea="< 0,3", geschl="Female")["creatinine"] == pytest.approx(0.3 * 88.4, rel=1e-3)
    assert read(geschl="Female")["sex"] == 0


@pytest.mark.parametrize(
    ("cells", "column", "why"),
    [
        ({"age": " "}, "age", "empty"),
        ({"age": "NaN"}, "age", "empty"),
        ({"age": "fifty"}, "age", "unreadable"),
        ({"age": "inf"}, "age", "unreadable"),
        ({"age": "1_0"}, "age", "unreadable"),
        ({"age": "121"}, "age", "out_of_range"),
        ({"age": "1.234"}, "age", "unreadable"),  # or 1234: a point groups thousands beside a decimal comma
        ({"krea": "1.0"}, "creatinine", "unreadable"),
        ({"krea": "1.234,5"}, "creatinine", "unreadable"),
        ({"krea": "0,01"}, "creatinine", "out_of_range"),
        ({"geschl": "D"}, "sex", "empty"),
        ({"geschl": "x"}, "sex", "unreadable"),
    ],
)
def test_what_is_not_known_says_why(cells: dict[str, str], column: str, why: str) -> None:
    assert read(**cells)[column] == Missing(why)


def test_a_column_that_the_table_lacks_is_missing() -> None:
    assert ClinicalReader(COLUMNS, GERMAN).read({"geschl": "w"}) == {
        "age": Missing.NO_COLUMN,
        "creatinine": Missing.NO_COLUMN,
        "sex": 0,
    }


def test_a_factor_stands_for_a_unit_that_is_not_known() -> None:
    settings = LabelSettings.model_validate({"clinical": {"Krea": {"name": "creatinine", "factor": 88.42}}})
    assert ClinicalReader(COLUMNS, settings).read({"krea": "1"})["creatinine"] == 88.42


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"name": "age", "unit": "mg/dl"}, '"Spalte" in site.toml: mg/dl is nothing that becomes years'),
        ({"name": "sex", "words": {"w": "femal"}}, '"w" = "femal"'),
        ({"name": "sex", "unit": "years"}, "years is nothing"),
    ],
)
def test_a_line_that_leads_nowhere_is_refused_and_named(source: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ClinicalReader(COLUMNS, LabelSettings.model_validate({"clinical": {"Spalte": source}}))


def test_two_lines_add_up_and_are_nothing_where_they_differ() -> None:
    one = {"age": 50.0, "creatinine": Missing.EMPTY, "sex": 1.0}
    other = {"age": 51.0, "creatinine": 80.0, "sex": Missing.EMPTY}
    assert merged(one, other) == merged(other, one) == {"age": Missing.CONFLICT, "creatinine": 80.0, "sex": 1.0}


def test_a_line_of_the_table_brings_them(write_table: Callable[..., Path], binary: TaskSpec) -> None:
    lines = (["1", "1", "50", "m"], ["1", "1", "", "m"], ["2", "0", "7", "w"])
    path = write_table(["file", "label", "Age", "Geschl"], *lines)
    reader = ClinicalReader(COLUMNS, GERMAN)
    table = read_labels(path, Vocabulary(binary, {}), keys=("file",), settings=GERMAN, clinical=reader)
    assert table.find("1").clinical == {"age": 50, "creatinine": Missing.NO_COLUMN, "sex": 1}
    assert table.find("2").clinical["age"] == 7
    assert "50" not in repr(table.find("1"))


def test_they_stand_beside_the_images(
    tmp_path: Path, write_npz: Callable[..., Path], flat_arrays: Mapping[str, np.ndarray], binary: TaskSpec
) -> None:
    age, sex = np.arange(60.0), np.tile(["male", "female", "?"], 20)
    age[7] = np.nan
    write_npz(**flat_arrays, age=age, sex=sex)
    data = prepare(
        DataSettings(kind="npz", file=Path("images.npz"), validation_fraction=0, test_fraction=0),
        task=binary,
        images=ImageSpec(size_px=16),
        salt=bytes(32),
        base=tmp_path,
        cache=tmp_path / "cache",
        clinical=COLUMNS,
    )
    known = data.train.clinical
    assert known is not None
    assert (known.dtype, known.shape) == (np.float32, (60, 3))
    assert data.train.missing is not None
    assert data.train.missing.sum(axis=0).tolist() == [1, 60, 20]
    np.testing.assert_array_equal(known[:7, 0], np.arange(7))
    np.testing.assert_array_equal(known[:3, 2], [1, 0, np.nan])


def test_a_number_of_an_array_has_no_decimal_comma(write_npz: Callable[..., Path], binary: TaskSpec) -> None:
    krea = {"Krea": np.array([0.5, 1.5, np.nan], dtype=np.float32), "age": np.array(["50,5", "7", "1.234"])}
    file = write_npz(images=np.zeros((3, 4, 4), np.uint8), labels=np.array([0.0, 1.0, 1.0]), **krea)
    source = ArraySource(
        file, vocabulary=Vocabulary(binary, {}), salt=bytes(32), clinical=ClinicalReader(COLUMNS, GERMAN)
    )
    rows = list(source.rows())
    assert [row.clinical["creatinine"] for row in rows] == [
        pytest.approx(44.2, 0.01),
        pytest.approx(132.6, 0.01),
        "empty",
    ]
    assert [row.clinical["age"] for row in rows] == [50.5, 7, "unreadable"]
    assert [row.labels for row in rows] == [(0,), (1,), (1,)]


def test_the_account_counts_what_is_missing_and_why() -> None:
    row = Row("dicom", "a", patient="p", labels=(1,), clinical={"age": 50.0, "sex": Missing.EMPTY})
    rows = (row, replace(row, file="b"), replace(row, file="c", clinical={"age": Missing.OUT_OF_RANGE, "sex": 1.0}))
    found = account(Catalogue(rows), task=None, split=False)
    assert found.clinical == {"age": {"known": 2, "out_of_range": 1}, "sex": {"empty": 2, "known": 1}}
