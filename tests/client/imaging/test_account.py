"""What is counted of a site's images, and how."""

from dataclasses import replace

from client.imaging.about import About
from client.imaging.account import account
from client.imaging.catalogue import Catalogue, Row
from client.imaging.examples import Split
from client.imaging.grid import Scan
from client.imaging.reasons import MEANING, Reason
from client.imaging.stacks import Piece, Stack
from shared.study import TaskSpec

ROW = Row("dicom", "a", patient="p", exam="e", series="s", labels=(1,), split=Split.TRAIN)


def test_a_file_counts_once_whatever_becomes_of_its_frames() -> None:
    rows = (
        ROW,
        replace(ROW, index=1, set_aside=Reason.UNREADABLE),
        replace(ROW, file="b", set_aside=Reason.DECODER_HUNG),
        replace(ROW, file="b", index=1, set_aside=Reason.DECODER_HUNG),
        replace(ROW, file="c", set_aside=Reason.DECODER_CRASHED),
        replace(ROW, file="d", set_aside=Reason.UNREADABLE),
        replace(ROW, file="d", index=1),
    )
    found = account(Catalogue(rows), task=None, split=False)
    assert (found.files, found.used, found.images) == (4, 2, 2)
    assert (found.hung, found.crashed) == (1, 1)
    assert [(aside.reason, aside.files) for aside in found.set_aside] == [("decoder_hung", 1), ("decoder_crashed", 1)]


def test_words_come_by_number_and_the_unknown_last() -> None:
    vendors = ["other", "other", "ge", "siemens", "siemens", "unstated", "unstated", "unstated"]
    rows = (replace(ROW, file=str(n), about=About(vendor=vendor)) for n, vendor in enumerate(vendors))
    found = account(Catalogue(tuple(rows)), task=None, split=False)
    assert list(found.vendors.items()) == [("siemens", 2), ("ge", 1), ("unstated", 3), ("other", 2)]
    assert (found.patients, found.exams, found.series) == (1, 1, 1)


def test_text_in_the_pixels_is_told_apart() -> None:
    said = ("yes", "no", "possible", "possible", "unstated")
    rows = (replace(ROW, file=str(n), about=About(burned_in=word)) for n, word in enumerate(said))
    assert account(Catalogue(tuple(rows)), task=None, split=False).burned_in_text == {"declared": 1, "possible": 2}


def test_classes_count_patients_and_small_ones_are_named() -> None:
    task = TaskSpec(mode="multiclass", classes=("nv", "mel", "bkl"))
    rows = [replace(ROW, file=str(n), patient=str(n // 2), labels=(0,)) for n in range(20)]
    rows.append(replace(ROW, file="x", patient="x", split=Split.TEST))
    found = account(Catalogue(tuple(rows)), task=task, split=True)
    assert found.classes == {"nv": 10, "mel": 1, "bkl": 0}
    assert found.splits is not None
    assert found.splits[Split.TEST].model_dump() == {
        "images": 1,
        "patients": 1,
        "classes": {"nv": 0, "mel": 1, "bkl": 0},
    }
    assert (Split.TRAIN, "nv") not in found.small_classes
    assert {(Split.TRAIN, "mel"), (Split.TEST, "nv"), (Split.VALIDATION, "mel")} <= set(found.small_classes)


def test_a_site_with_few_to_test_on_is_told_to_train_only() -> None:
    task = TaskSpec(classes=("finding",))
    sizes = {Split.TRAIN: 10, Split.VALIDATION: 10, Split.TEST: 10}

    def advised(**fewer: int) -> bool:
        patients = sizes | {Split(name): number for name, number in fewer.items()}
        rows = (
            replace(ROW, file=f"{split}{n}{label}", patient=f"{split}{n}{label}", labels=(label,), split=split)
            for split, number in patients.items()
            for n in range(number)
            for label in (0, 1)
        )
        return account(Catalogue(tuple(rows)), task=task, split=True).train_only_advised

    assert not advised()
    assert not advised(train=9)
    assert advised(test=9)
    assert advised(validation=0)


def test_every_reason_has_a_meaning() -> None:
    assert MEANING.keys() == set(Reason)


def test_a_volume_counts_as_one_image_and_as_all_its_files() -> None:
    def volume(*files: str) -> Row:
        stack = Stack(tuple(Piece(file, "") for file in files), Scan((len(files), 4, 4), (1.0, 1.0, 1.0)))
        return replace(ROW, file=files[0], stack=stack, about=About(modality="ct"))

    localizer = replace(ROW, file="x", set_aside=Reason.LOCALIZER)
    failed = replace(volume("f", "g"), set_aside=Reason.UNREADABLE)
    found = account(
        Catalogue((volume("a", "b", "c"), volume("e", "e", "e"), failed, localizer)), task=None, split=False
    )
    assert (found.files, found.used, found.images) == (7, 4, 2)
    assert found.modalities == {"ct": 4}
    assert {aside.reason: aside.files for aside in found.set_aside} == {"unreadable": 2, "localizer": 1}
