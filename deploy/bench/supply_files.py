"""A catalogue for the benchmark of reading: phantom pictures in the size of real ones, under numbers.

Decides the files; what a picture shows is `deploy/phantom`'s. A few are drawn, enlarged, and repeated under another
patient and another UID, so that a large catalogue is there in seconds and no file is another's duplicate.
"""

import csv
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from deploy.phantom.archive import draw_hospital
from deploy.phantom.dicom import draw_uid
from deploy.phantom.hospitals import HOSPITALS
from shared.quiet import quiet

ENLARGED = 4  # times, to about 700 x 640 pixels
_DRAWN = 16
_SOUND_BYTES = 50_000  # a file that is cut off has less


def lay_files(folder: Path, count: int, *, seed: int) -> None:
    """Write `images/NUMBER.dcm` and `labels.csv`.

    Args:
        folder: made.
        count: number of files.
        seed: of what is drawn.
    """
    drawn, rng = _drawn(seed), np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as table:
        lines = csv.writer(table)
        lines.writerow(("file", "patient", "label"))
        for number in range(count):
            name = f"{number:06}.dcm"
            (folder / "images" / name).write_bytes(_numbered(drawn[number % len(drawn)], number, rng))
            lines.writerow((name, number, number % 2))


def _drawn(seed: int) -> list[Dataset]:
    with TemporaryDirectory(prefix="wardround-phantom-") as name, quiet():
        draw_hospital(HOSPITALS[0], Path(name), seed=seed, patients=2 * _DRAWN)
        files = sorted(Path(name, "images").iterdir())
        sound = (dcmread(BytesIO(file.read_bytes())) for file in files if file.stat().st_size > _SOUND_BYTES)
        return [_enlarged(dataset) for dataset, _ in zip(sound, range(_DRAWN), strict=False)]


def _enlarged(dataset: Dataset) -> Dataset:
    pixels = np.kron(dataset.pixel_array, np.ones((ENLARGED, ENLARGED), dtype=np.uint16))
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    return dataset


def _numbered(dataset: Dataset, number: int, rng: np.random.Generator) -> bytes:
    dataset.PatientID = f"{number}"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = draw_uid(rng)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = draw_uid(rng), draw_uid(rng)
    stream = BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()
