"""How large images were made is counted by patient, and told of no few."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from lone_site import a_study
from PIL import Image
from pydicom.dataset import Dataset

from client.imaging.dicom import _spacing
from client.imaging.examples import Counts, Examples, SiteData
from client.imaging.extent import Extent, measures_by_patient
from client.imaging.nifti import Nifti
from client.imaging.pictures import Picture
from client.work.surveying import survey_of
from shared.images import ImageSpec
from shared.study import Study
from shared.survey import Survey, covered


def test_a_patient_counts_once_with_the_middle_image() -> None:
    wide, small = Extent((1, 100, 300), (None, 0.104, 0.2)), Extent((1, 50, 60))
    images = [("a", wide), ("a", wide), ("a", small), ("b", small)]
    assert measures_by_patient(images) == ((1, 100, 300, None, 0.1, 0.2), (1, 50, 60, None, None, None))
    assert measures_by_patient([]) == ()


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"PixelSpacing": [0.2, 0.3]}, (0.2, 0.3)),
        ({"ImagerPixelSpacing": [0.14, 0.14]}, (0.14, 0.14)),
        ({}, (None, None)),
        ({"PixelSpacing": [0, 1]}, (None, None)),
        ({"PixelSpacing": [1e9, 1]}, (None, None)),
        ({"PixelSpacing": [0.2]}, (None, None)),
        ({"PixelSpacing": None}, (None, None)),
    ],
)
def test_a_spacing_that_means_nothing_costs_no_image(said: dict[str, Any], found: tuple[float | None, ...]) -> None:
    header = Dataset()
    for keyword, value in said.items():
        setattr(header, keyword, value)
    assert _spacing(header) == found


def test_files_say_how_large_their_images_are(tmp_path: Path) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    assert Picture().facts((tmp_path / "a.png").read_bytes()).size == Extent((1, 20, 30))
    values = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    nibabel.Nifti1Image(values, np.diag([0.5, 0.75, 3, 1])).to_filename(tmp_path / "a.nii")
    found = Nifti().facts((tmp_path / "a.nii").read_bytes()).size
    assert found == Extent((6, 5, 4), (3.0, 0.75, 0.5))


def told(measures: Sequence[tuple[float | None, ...]], study: Study, *, smallest: int) -> Survey:
    """The survey of a site whose training patients' images are of such measures."""
    number = len(measures)
    images, labels = np.ones((number, 1, 28, 28), np.uint16), np.zeros((number, 1), np.int64)
    part = Examples(images=images, labels=labels, patients=np.arange(number))
    empty = Examples(images=images[:0], labels=labels[:0], patients=np.arange(0))
    counts = Counts(number, number, {}, {}, {}, {}, measures=tuple(measures))
    return survey_of(SiteData(part, empty, empty, "", counts), study, smallest=smallest)


def test_a_size_is_told_if_enough_have_so_much_or_less_and_so_much_or_more() -> None:
    sizes = [(1, 512, 512, None, 0.5, None)] * 90 + [(1, 600, 4000 + n, None, 0.7, None) for n in range(10)]
    survey = told(sizes, a_study(), smallest=11)
    assert survey.size_px == {"rows": (512, 512, None), "columns": (512, 512, None)}  # ten have more
    assert survey.spacing_mm == {"rows": (0.5, 0.5, None)}
    assert told(sizes, a_study(), smallest=10).size_px["rows"] == (512, 512, 600)
    assert Survey.model_validate_json(survey.model_dump_json()) == survey
    assert covered(survey, smallest=11).size_px == survey.size_px


def test_of_a_few_patients_no_size_is_told_and_of_none_nothing() -> None:
    few = told([(1, 512, 512, None, None, None)] * 10, a_study(), smallest=11)
    assert few.size_px == {"rows": (None, None, None), "columns": (None, None, None)}
    nothing = told([(None,) * 6] * 20, a_study(), smallest=11)
    assert (nothing.size_px, nothing.spacing_mm) == ({}, {})


def test_slices_are_told_of_volumes() -> None:
    study = a_study(images={"size_px": 28, "slices": 16})
    assert told([(40, 512, 512, 3.0, 0.7, 0.7)] * 20, study, smallest=11).size_px["slices"] == (40, 40, 40)
    assert study.images == ImageSpec(size_px=28, slices=16)
