"""Which kind of images a folder holds, by the names of its files.

Decides for whoever looks at a folder before anything is configured. DICOM files have any ending or none, so they
are what remains.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Literal

FolderKind = Literal["dicom", "nifti", "pictures"]
_ENDINGS: dict[str, FolderKind] = {
    **dict.fromkeys((".nii", ".nii.gz"), "nifti"),
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".tif", ".tiff"), "pictures"),
}


def kind_of(folder: Path) -> FolderKind:
    """The kind that most files are of; DICOM where none are."""
    names = (name.lower() for _, _, files in os.walk(folder) for name in files)
    counts = Counter(_kind(name) for name in names)
    return max(("dicom", "nifti", "pictures"), key=lambda kind: counts[kind])


def _kind(name: str) -> FolderKind:
    return next((kind for ending, kind in _ENDINGS.items() if name.endswith(ending)), "dicom")
