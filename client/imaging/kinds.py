"""Which kind of images a folder holds, by the names of its files, and by how they begin.

Decides for whoever looks at a folder before anything is configured. DICOM files have any ending or none, so they
are what remains, for who has to name a kind; `recognised` names one only of files that it knows.
"""

import os
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Literal

from client.imaging.files import files_under

FolderKind = Literal["dicom", "nifti", "pictures"]
_ENDINGS: dict[str, FolderKind] = {
    **dict.fromkeys((".nii", ".nii.gz"), "nifti"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), "pictures"),
}
_MOST_FILES = 200  # that are looked at before a kind is named; one kind fills a folder
_PREAMBLE = 128  # bytes before the DICM of a DICOM file (PS3.10, 7.1)
_BEGINNINGS: dict[bytes, FolderKind] = dict.fromkeys(
    (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*"), "pictures"
)


def kind_of(folder: Path) -> FolderKind:
    """The kind that most files are of; DICOM where none are."""
    names = (name.lower() for _, _, files in os.walk(folder) for name in files)
    counts = Counter(_kind(name) for name in names)
    return max(("dicom", "nifti", "pictures"), key=lambda kind: counts[kind])


def recognised(folder: Path) -> FolderKind | None:
    """The kind that most of a folder's first files are of; None where none of them is known.

    Raises:
        ResourceError: the folder cannot be listed.
    """
    known = [kind for file in islice(files_under(folder), _MOST_FILES) if (kind := _known(file))]
    return max(known, key=known.count, default=None)


def _known(file: Path) -> FolderKind | None:
    if (named := _kind(file.name.lower())) != "dicom" or file.suffix.lower() in (".dcm", ".dicom"):
        return named
    try:
        with file.open("rb") as opened:
            beginning = opened.read(_PREAMBLE + 4)
    except OSError:
        return None
    if beginning[_PREAMBLE:] == b"DICM":
        return "dicom"
    return next((kind for start, kind in _BEGINNINGS.items() if beginning.startswith(start)), None)


def _kind(name: str) -> FolderKind:
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), "dicom")
