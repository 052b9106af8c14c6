"""What a folder holds, by the names of its files and by how they begin."""

from pathlib import Path

import pytest

from client.imaging.kinds import FolderKind, kind_of, recognised


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


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, None),
        ({"README": b"text", "labels.csv": b"file,label"}, None),
        ({"README": b"text", "IM0001": bytes(128) + b"DICM"}, "dicom"),
        ({"1.DCM": b"", "2.dcm": b"", "preview.png": b""}, "dicom"),
        ({"labels.csv": b"file", "a.nii.gz": b"", "b.nii": b""}, "nifti"),
        ({"a.JPG": b"", "b": b"\xff\xd8\xff\xe0", "c": b"II*\0"}, "pictures"),
    ],
)
def test_a_kind_is_named_of_files_that_are_known(
    tmp_path: Path, files: dict[str, bytes], kind: FolderKind | None
) -> None:
    (tmp_path / "deep").mkdir()
    for name, held in files.items():
        (tmp_path / "deep" / name).write_bytes(held)
    assert recognised(tmp_path) == kind
