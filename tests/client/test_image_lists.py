"""A site's lists of images: one for each opening, and in the ledger a hash that nobody else can make."""

from pathlib import Path

import pytest

from client.image_lists import ImageLists, listing
from client.imaging.catalogue import Row
from client.imaging.examples import Split
from client.privacy.patients import patient_key
from shared.errors import Refusal
from shared.image_list import LONGEST_LIST, manifest_of, read_list

STUDY, FILE = "a" * 64, "b" * 64
ROWS = tuple(
    Row("npz", f"secret-{n}.png", n, FILE, f"patient-{n // 2}", labels=(n % 2,), split=Split.TRAIN) for n in range(4)
)


def test_a_list_says_of_each_image_what_an_auditor_needs_and_no_name() -> None:
    text = listing(ROWS, key=bytes(32)).decode()
    images = read_list(text)
    assert [image.image for image in images] == [f"{FILE}/{n}" for n in range(4)]
    assert len({image.patient for image in images}) == 2
    assert "secret" not in text and "patient-0" not in text


def test_the_order_of_the_images_changes_nothing() -> None:
    assert listing(ROWS[::-1], key=bytes(32)) == listing(ROWS, key=bytes(32))


def test_each_opening_keeps_its_list(tmp_path: Path) -> None:
    lists = ImageLists(tmp_path)
    assert lists.commit(STUDY) is None
    manifests = set()
    for rows in (ROWS, ROWS[:3], ROWS):
        lists.offer(STUDY, rows)
        manifests.add(lists.commit(STUDY))
    assert lists.commit(STUDY) is None
    key = lists.key(STUDY)
    assert {manifest_of(key, data) for data in lists.kept(STUDY)} == manifests
    assert len(manifests) == 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "image-lists").iterdir())


def test_the_studys_key_tells_neither_the_sites_nor_another_studys(tmp_path: Path) -> None:
    lists = ImageLists(tmp_path)
    assert lists.key(STUDY) != lists.key("c" * 64)
    assert patient_key(tmp_path) not in (lists.key(STUDY), lists.key("c" * 64))


def test_a_worker_that_writes_more_than_a_list_is_refused(tmp_path: Path) -> None:
    lists = ImageLists(tmp_path)
    lists.offer(STUDY, ROWS)
    with (tmp_path / "image-lists" / f"{STUDY}.offered").open("r+b") as file:
        file.truncate(LONGEST_LIST + 1)  # a hole: it takes no room
    with pytest.raises(Refusal):
        lists.commit(STUDY)
