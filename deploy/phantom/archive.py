"""Writes one hospital's folder: ``images/*.dcm`` and ``labels.csv``, flaws included.

Decides which files are flawed, as in any real archive, so that the account of what was set aside has
something to say. Deterministic: the same hospital, seed and number of patients give the same bytes.
The files are a throw-away fixture and are not synced to disk one by one; ``labels.csv`` is written last.
"""

import csv
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deploy.phantom.acquisition import Exposure, expose
from deploy.phantom.anatomy import tissue_of
from deploy.phantom.bodies import Bodies, draw_bodies, draw_poses, grid_of
from deploy.phantom.books import Books, draw_books
from deploy.phantom.dicom import encode
from deploy.phantom.findings import add_devices, add_distractors, add_opacities
from deploy.phantom.hospitals import Hospital

BATCH = 32  # exams drawn at once: large enough to share numpy's overhead, small enough for the cache
FLAWS = ("truncated", "not_dicom", "missing", "unlabelled", "unlisted")


@dataclass(frozen=True)
class PhantomAccount:
    """What `draw_hospital` wrote; usable exams have a readable picture and a label.

    Attributes:
        files: files under ``images/``, flawed ones included.
        exams: usable exams.
        patients: patients with at least one usable exam.
        positives: usable exams with an opacity.
        flaws: exams that a reader must set aside, by kind: ``truncated`` (the file ends early),
            ``not_dicom`` (text under a DICOM name), ``missing`` (a row without file), ``unlabelled``
            (a row without label), ``unlisted`` (a file without row).
    """

    files: int
    exams: int
    patients: int
    positives: int
    flaws: dict[str, int]


def draw_hospital(hospital: Hospital, folder: Path, *, seed: int, patients: int | None = None) -> PhantomAccount:
    """Write the archive of one hospital.

    Args:
        hospital: whose archive.
        folder: created when absent; receives ``images/`` and ``labels.csv`` (columns file, patient,
            accession, opacity; `file` relative to `folder`).
        seed: of everything that is drawn, together with the hospital's name.
        patients: how many patients, at least 12; the hospital's own number when None.

    Raises:
        ValueError: fewer than 12 patients, too few for the flawed files.
    """
    patients = hospital.patients if patients is None else patients
    if patients < 12:
        raise ValueError("a phantom hospital has at least 12 patients")
    root = np.random.SeedSequence([seed, zlib.crc32(hospital.name.encode())])
    people, pictures, flawed = (np.random.default_rng(child) for child in root.spawn(3))
    books = draw_books(hospital, people, patients=patients)
    bodies = draw_bodies(people, female=books.female)
    flaws = _draw_flaws(flawed, len(books.exams))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for row, data in _encoded(hospital, books, bodies, pictures):
        _write(folder / _file(row), data, flaws.get(row))
    (folder / "labels.csv").write_bytes(_labels(books, flaws))
    return _account(books, flaws)


def _encoded(hospital: Hospital, books: Books, bodies: Bodies, rng: np.random.Generator) -> Iterator[tuple[int, bytes]]:
    """Each exam's row and file bytes, drawn batch by batch."""
    for start in range(0, len(books.exams), BATCH):
        rows = np.arange(start, min(start + BATCH, len(books.exams)))
        taken = _expose(hospital, books, bodies.take(books.person[rows]), rows, rng)
        for at, row in enumerate(rows.tolist()):
            data = encode(books.exams[row], hospital, taken.stored[at], field=taken.field[at], window=taken.window[at])
            yield row, data


def _expose(
    hospital: Hospital, books: Books, bodies: Bodies, rows: npt.NDArray[np.int64], rng: np.random.Generator
) -> Exposure:
    poses = draw_poses(rng, len(rows), view=hospital.view)
    grid = grid_of(poses, rows=hospital.rows, columns=hospital.columns)
    tissue = tissue_of(bodies, poses, grid, rng)
    add_opacities(tissue, grid, rng, books.opacity[rows])
    add_distractors(tissue, grid, rng)
    add_devices(tissue, grid, rng, books.device[rows])
    return expose(tissue, hospital, rng)


def _draw_flaws(rng: np.random.Generator, exams: int) -> dict[int, str]:
    """One or two exams of each kind of flaw; one each in a small archive."""
    kinds = [kind for kind in FLAWS for _ in range(1 + (exams >= 60 and rng.random() < 0.5))]
    return dict(zip(rng.choice(exams, len(kinds), replace=False).tolist(), kinds, strict=True))


def _file(row: int) -> str:
    return f"images/{row + 1:06d}.dcm"


def _write(path: Path, data: bytes, flaw: str | None) -> None:
    if flaw == "missing":
        return
    if flaw == "truncated":
        data = data[: len(data) * 3 // 5]
    if flaw == "not_dicom":
        data = b"Export of this exam failed; ask the archive to send it again.\n"
    path.write_bytes(data)


def _labels(books: Books, flaws: dict[int, str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "patient", "accession", "opacity"])
    for row, exam in enumerate(books.exams):
        label = "" if flaws.get(row) == "unlabelled" else str(int(books.opacity[row]))
        if flaws.get(row) != "unlisted":
            writer.writerow([_file(row), exam.patient, exam.accession, label])
    return text.getvalue().encode()


def _account(books: Books, flaws: dict[int, str]) -> PhantomAccount:
    usable = [row for row in range(len(books.exams)) if row not in flaws]
    kinds = list(flaws.values())
    return PhantomAccount(
        files=len(books.exams) - kinds.count("missing"),
        exams=len(usable),
        patients=len({books.exams[row].patient for row in usable}),
        positives=int(books.opacity[usable].sum()),
        flaws={kind: kinds.count(kind) for kind in FLAWS},
    )
