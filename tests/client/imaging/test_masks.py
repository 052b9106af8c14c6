"""From a file's masks to those that a model sees, and why an image without one is not used."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client.imaging.cache import prepare
from client.imaging.examples import Examples, SiteData
from client.imaging.label_settings import LabelSettings
from client.imaging.masks import decode, structures
from client.imaging.reasons import Reason, SetAside
from client.imaging.settings import DataSettings
from client.imaging.sources import open_source
from client.imaging.survey import survey
from client.work.surveying import survey_of
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.study import Study, TaskSpec
from shared.survey import surveyable

Write = Callable[..., Path]
LESION = TaskSpec(kind="segmentation", classes=("lesion",))
ORGANS = TaskSpec(kind="segmentation", mode="multiclass", classes=("liver", "spleen"))


def drawn(count: int = 40, height: int = 12, width: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Images whose bright square is the mask; every fifth has none."""
    rng = np.random.default_rng(3)
    masks = np.zeros((count, height, width), np.uint8)
    for number, (top, left) in enumerate(rng.integers(0, 8, (count, 2)).tolist()):
        masks[number, top : top + 4, left : left + 5] = number % 5 > 0
    return masks * 200 + rng.integers(0, 40, masks.shape, dtype=np.uint8), masks


def used(base: Path, task: TaskSpec = LESION, images: ImageSpec | None = None) -> SiteData:
    settings = DataSettings(kind="npz", file=Path("images.npz"))
    images = images or ImageSpec(size_px=32)
    return prepare(settings, task=task, images=images, salt=bytes(32), base=base, cache=base / "cache")


def parts(data: SiteData) -> list[Examples]:
    return [data.train, data.validation, data.test]


@pytest.mark.parametrize("packed", [False, True])
def test_masks_come_with_their_images_in_the_same_geometry(tmp_path: Path, write_npz: Write, packed: bool) -> None:
    images, masks = drawn()
    write_npz(images=images, masks=np.packbits(masks.reshape(40, -1), axis=1) if packed else masks)
    for part in parts(used(tmp_path)):
        assert part.masks is not None
        assert (part.masks.shape, part.masks.dtype) == ((len(part), 32, 32), np.uint16)
        assert (part.masks.any(axis=(1, 2)) == part.labels[:, 0]).all()
        bright = part.images[:, 0] > 30000
        shared = (bright & (part.masks == 1)).sum() / (bright | (part.masks == 1)).sum()
        assert shared > 0.9  # what is left are the edges, which the image has smooth
        assert part.targets(slice(0, 2)).dtype == np.int64


def test_empty_masks_are_used_and_counted(tmp_path: Path, write_npz: Write) -> None:
    images, masks = drawn()
    write_npz(images=images, masks=masks, labels=np.zeros(40))
    data = used(tmp_path)
    assert data.counts.used == 40
    assert sum(counts.get("negative", 0) for counts in data.counts.classes.values()) == 8
    assert sum(counts.get("lesion", 0) for counts in data.counts.classes.values()) == 32
    settings = DataSettings(kind="npz", file=Path("images.npz"))
    source = open_source(settings, task=LESION, salt=bytes(32), base=tmp_path)
    account = survey(source, settings=settings, task=LESION)
    assert account.classes == {"lesion": 32, "negative": 8}


def test_images_without_masks_are_set_aside_by_reason(tmp_path: Path, write_npz: Write) -> None:
    write_npz(images=drawn()[0], labels=np.zeros(40))
    counts = used(tmp_path).counts
    assert (counts.used, counts.set_aside) == (0, {"no_mask": 40})


def test_a_value_of_no_structure_sets_its_image_aside(tmp_path: Path, write_npz: Write) -> None:
    images, masks = drawn()
    masks[1, 0, 0], masks[2, 0, 0] = 2, 3
    write_npz(images=images, masks=masks)
    data = used(tmp_path, ORGANS)
    assert data.counts.set_aside == {"mask_unknown": 1}
    assert sum(counts.get("spleen", 0) for counts in data.counts.classes.values()) == 1
    assert used(tmp_path).counts.used == 40  # of one structure every value but 0 is it


def test_a_cached_entry_says_again_what_its_masks_show(tmp_path: Path, write_npz: Write) -> None:
    images, masks = drawn()
    write_npz(images=images, masks=masks)
    first, again = used(tmp_path), used(tmp_path)
    assert first.manifest == again.manifest
    assert first.counts == again.counts
    assert len(list((tmp_path / "cache").glob("*/entry.json"))) == 1
    masks_file = next((tmp_path / "cache").glob("*/train.masks.npy"))
    masks_file.write_bytes(masks_file.read_bytes()[:-1])
    assert used(tmp_path).counts == first.counts


def test_a_survey_counts_the_patients_who_show_a_structure(tmp_path: Path, write_npz: Write) -> None:
    images, masks = drawn()
    masks[:10] *= 2
    write_npz(images=images, masks=masks)
    asked = {
        "study": {"name": "organs"},
        "task": ORGANS,
        "model": {"name": "unet"},
        "training": {"epochs_per_round": 1},
    }
    study = Study.model_validate(asked)
    told = survey_of(used(tmp_path, ORGANS), study)
    assert surveyable(study).fault(told) is None
    counts = [Counter(split.classes) for split in told.splits.values()]
    assert sum(counts, Counter()) == {"liver": 24, "spleen": 8, "negative": 8}


@pytest.mark.parametrize("shape", [(40, 12, 19), (39, 12, 20), (40, 29), (40, 12, 20, 3)])
def test_masks_of_another_form_are_refused(tmp_path: Path, write_npz: Write, shape: tuple[int, ...]) -> None:
    write_npz(images=drawn()[0], masks=np.zeros(shape, np.uint8))
    with pytest.raises(ConfigError, match="`masks`"):
        used(tmp_path)


@pytest.mark.parametrize(
    ("values", "task", "found"),
    [
        ([0, 255 * 257], LESION, [0, 1]),
        ([0, 1], LESION, [0, 1]),
        ([0, 257, 514], ORGANS, [0, 1, 2]),
        ([0, 1, 2], ORGANS, [0, 1, 2]),
        ([0, 3], ORGANS, None),
        ([0, 257, 2], ORGANS, None),
    ],
)
def test_what_values_mean(values: list[int], task: TaskSpec, found: Any) -> None:
    stored = np.array([values], np.uint16)
    if found is None:
        with pytest.raises(SetAside, match=Reason.MASK_UNKNOWN.value):
            structures(stored, task)
        return
    assert structures(stored, task).tolist() == [found]
    assert structures(np.repeat(stored[..., None], 3, axis=2), task).tolist() == [found]


def test_a_coloured_mask_is_unknown() -> None:
    with pytest.raises(SetAside, match=Reason.MASK_UNKNOWN.value):
        structures(np.array([[[0, 0, 257]]], np.uint16), LESION)


# ------------------------------------------------------------------ masks beside pictures


@pytest.fixture
def folder(tmp_path: Path, write_table: Write) -> Path:
    """Eight pictures; the fifth has no mask, the sixth one of another size, the seventh none that is there, the eighth
    one outside of the folder."""
    images, masks = drawn(8)
    (place := tmp_path / "exams").mkdir()
    (place / "masks").mkdir()
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        Image.fromarray(image).save(place / f"{number}.png")
        cut = mask[:, :-1] if number == 5 else mask
        if number not in (4, 6, 7):
            Image.fromarray(cut * 255).save(place / "masks" / f"{number}.png")
    Image.fromarray(masks[7]).save(tmp_path / "7.png")
    named = {number: f"masks/{number}.png" for number in range(8)} | {4: "", 7: "../7.png"}
    lines = [(f"{number}.png", f"P{number}", mask) for number, mask in named.items()]
    write_table(["file", "patient", "mask"], *lines)
    return place


def pictures(base: Path, task: TaskSpec = LESION, kind: str = "pictures", labels: Any = None) -> SiteData:
    settings = DataSettings.model_validate({"kind": kind, "folder": "exams", "labels": "labels.csv"})
    spec, mapping = ImageSpec(size_px=32), LabelSettings.model_validate(labels or {})
    where = {"salt": bytes(32), "base": base, "cache": base / "cache"}
    return prepare(settings, task=task, images=spec, labels=mapping, **where)


def test_the_label_table_names_the_mask_of_a_picture(tmp_path: Path, folder: Path) -> None:
    data = pictures(tmp_path)
    assert data.counts.found == 8  # masks are no images
    assert data.counts.set_aside == {"no_mask": 1, "mask_size": 1, "mask_unreadable": 2}
    for part in parts(data):
        assert part.masks is not None
        bright = part.images[:, 0] > 30000
        shared = (bright & (part.masks == 1)).sum() / max((bright | (part.masks == 1)).sum(), 1)
        assert shared > 0.9 or not part.masks.any()
    assert sum(counts.get("lesion", 0) for counts in data.counts.classes.values()) == 3


def test_a_site_may_call_the_column_of_masks_otherwise(tmp_path: Path, folder: Path) -> None:
    before, table = pictures(tmp_path), tmp_path / "labels.csv"
    table.write_text(table.read_text().replace("mask", "Umriss", 1).replace(",", ";"))
    assert pictures(tmp_path, labels={"columns": {"umriss": "mask"}}).manifest == before.manifest
    assert pictures(tmp_path).counts.set_aside["no_mask"] > before.counts.set_aside["no_mask"]


def test_a_mask_that_was_drawn_anew_is_read_anew(tmp_path: Path, folder: Path) -> None:
    before = pictures(tmp_path)
    Image.new("L", (20, 12)).save(folder / "masks" / "1.png")
    after = pictures(tmp_path)
    assert before.manifest != after.manifest
    assert [sum(c.get("negative", 0) for c in d.counts.classes.values()) for d in (before, after)] == [1, 2]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (Reason.TOO_LARGE, Reason.TOO_LARGE),
        (Reason.MEMORY_LIMIT, Reason.MEMORY_LIMIT),
        (Reason.DECODER_HUNG, Reason.DECODER_HUNG),
        (Reason.NOT_AN_IMAGE, Reason.MASK_UNREADABLE),
    ],
)
def test_a_mask_beyond_a_limit_is_told_as_such(found: Reason, told: Reason) -> None:
    class OneMask:
        def decode(self, rows: Any) -> Any:
            return iter([np.zeros((4, 4), np.uint16)])

        def masks(self, rows: Any) -> Any:
            return iter([found])

    source: Any = OneMask()
    assert list(decode(source, (), LESION)) == [told]
