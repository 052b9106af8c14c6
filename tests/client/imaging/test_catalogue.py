"""Patient keys, splits, digests and counts."""

import hashlib
import hmac
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.imaging.catalogue import Catalogue, Row, hashed_split, pseudonym, true_classes
from client.imaging.examples import Split
from client.imaging.reasons import Reason
from shared.errors import ConfigError
from shared.study import TaskSpec

KEYS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]


def _row(number: int, *, patient: str | None = None, labels: tuple[int, ...] = (0,), **fields: object) -> Row:
    return replace(
        Row("npz", "images", number, "c0", patient or KEYS[number], labels=labels),
        **fields,  # type: ignore[arg-type]
    )


def _catalogue(*rows: Row, validation: float = 0.15, test: float = 0.15) -> Catalogue:
    return Catalogue.of(rows, validation=validation, test=test)


def test_the_patient_key_is_hmac_sha256(salt: bytes) -> None:
    assert pseudonym(salt, "P-1") == hmac.new(salt, b"P-1", hashlib.sha256).hexdigest()
    assert pseudonym(salt, "P-1") != pseudonym(bytes(32), "P-1")


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        pseudonym(b"short", "P-1")


def test_splits_have_about_the_fractions_asked_for() -> None:
    counts = Counter(hashed_split(key, validation=0.2, test=0.1) for key in KEYS)
    assert abs(counts[Split.TEST] / len(KEYS) - 0.1) < 0.03
    assert abs(counts[Split.VALIDATION] / len(KEYS) - 0.2) < 0.03


def test_a_split_does_not_change_between_releases() -> None:
    found = [hashed_split(key, validation=0.15, test=0.15).value for key in KEYS[:8]]
    assert found == ["train", "validation", "test", "train", "validation", "train", "train", "train"]


@given(st.text(min_size=1), st.floats(0, 0.4), st.floats(0, 0.4))
def test_another_validation_fraction_moves_nobody_out_of_test(key: str, one: float, other: float) -> None:
    splits = {hashed_split(key, validation=validation, test=0.3) for validation in (one, other)}
    assert len({split is Split.TEST for split in splits}) == 1


def test_all_images_of_a_patient_share_a_split() -> None:
    rows = [_row(number, patient=KEYS[number % 40]) for number in range(200)]
    splits: dict[str, set[Split]] = {}
    for row in _catalogue(*rows).used:
        assert row.patient is not None and row.split is not None
        splits.setdefault(row.patient, set()).add(row.split)
    assert len(splits) == 40
    assert all(len(found) == 1 for found in splits.values())


def test_a_named_split_wins_and_reaches_the_patients_other_images() -> None:
    key = next(key for key in KEYS if hashed_split(key, validation=0.15, test=0.15) is Split.TRAIN)
    used = _catalogue(_row(0, patient=key, split=Split.TEST), _row(1, patient=key)).used
    assert [row.split for row in used] == [Split.TEST, Split.TEST]


def test_a_patient_in_two_named_splits_is_refused_without_being_named() -> None:
    with pytest.raises(ConfigError, match="1 patients") as caught:
        _catalogue(_row(0, patient=KEYS[0], split=Split.TEST), _row(1, patient=KEYS[0], split=Split.TRAIN))
    assert KEYS[0] not in str(caught.value)


def test_a_row_set_aside_names_no_split() -> None:
    used = _catalogue(
        _row(0, patient=KEYS[0], split=Split.TEST, set_aside=Reason.UNREADABLE),
        _row(1, patient=KEYS[0], split=Split.TRAIN),
        _row(2, split=Split.VALIDATION),
    ).used
    assert [row.split for row in used] == [Split.TRAIN, Split.VALIDATION]


def test_validation_is_carved_from_train_where_nobody_names_it() -> None:
    rows = [_row(number, split=Split.TEST if number % 4 == 0 else Split.TRAIN) for number in range(400)]
    used = _catalogue(*rows).used
    assert {row.index for row in used if row.split is Split.TEST} == set(range(0, 400, 4))
    assert 20 < sum(row.split is Split.VALIDATION for row in used) < 80


def test_nothing_is_carved_where_validation_is_named() -> None:
    rows = [_row(number, split=Split.TRAIN) for number in range(100)]
    used = _catalogue(*rows, _row(100, split=Split.VALIDATION)).used
    assert sum(row.split is Split.VALIDATION for row in used) == 1


def test_the_digest_covers_what_decides_the_data() -> None:
    base = [_row(number) for number in range(3)]
    digests = {_catalogue(*base).digest()}
    changes = (
        {"labels": (1,)},
        {"content": "c1"},
        {"split": Split.VALIDATION},
        {"set_aside": Reason.DUPLICATE},
        {"index": 9},
    )
    for change in changes:
        digests.add(_catalogue(*base[:2], replace(base[2], **change)).digest())  # type: ignore[arg-type]
    assert len(digests) == 6
    assert _catalogue(*base).digest() in digests


def test_rows_that_fail_later_are_counted_as_set_aside(binary: TaskSpec) -> None:
    rows = [_row(0, set_aside=Reason.NO_PIXELS), _row(1), _row(2, labels=(1,)), _row(3)]
    catalogue = _catalogue(*rows).without({0: Reason.UNREADABLE, 2: Reason.UNREADABLE})
    counts = catalogue.counts(binary)
    assert [row.index for row in catalogue.used] == [2]
    assert (counts.found, counts.used, counts.set_aside) == (4, 1, {"no_pixels": 1, "unreadable": 2})


def test_counts_by_split_and_class(multilabel: TaskSpec) -> None:
    rows = [
        _row(0, patient=KEYS[0], labels=(1, 1, 0), split=Split.TRAIN),
        _row(1, patient=KEYS[0], labels=(0, 0, 0), split=Split.TRAIN),
        _row(2, labels=(0, 0, 1), split=Split.VALIDATION),
    ]
    counts = _catalogue(*rows).counts(multilabel)
    assert counts.examples == {Split.TRAIN: 2, Split.VALIDATION: 1, Split.TEST: 0}
    assert counts.patients == {Split.TRAIN: 1, Split.VALIDATION: 1, Split.TEST: 0}
    assert counts.classes[Split.TRAIN] == {"Mass": 1, "Effusion": 1, "negative": 1}


def test_names_of_true_classes(binary: TaskSpec, multiclass: TaskSpec, multilabel: TaskSpec) -> None:
    assert true_classes((1,), binary) == ("Pneumonia",)
    assert true_classes((0,), binary) == ()
    assert true_classes((2,), multiclass) == ("bkl",)
    assert true_classes((1, 0, 1), multilabel) == ("Mass", "Nodule")


def test_a_row_does_not_print_its_file_or_labels() -> None:
    assert "secret" not in repr(Row("dicom", "secret/name.dcm", labels=(1,), clinical={"secret": 1.0}))
