"""What a folder holds, by the names of its files."""

from pathlib import Path

import pytest

from client.imaging.kinds import FolderKind, kind_of


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        ((), "dicom"),
        (("README", "IM0001", "a.nii"), "dicom"),
        (("README", "a.nii.gz", "B.NII"), "nifti"),
        (("a.png", "b.JPG", "c.tiff", "labels.csv"), "pictures"),
    ],
)
def test_most_files_decide(tmp_path: Path, names: tuple[str, ...], kind: FolderKind) -> None:
    (tmp_path / "deep").mkdir()
    for name in names:
        (tmp_path / "deep" / name).touch()
    assert kind_of(tmp_path) == kind
