"""Which source the settings name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client.imaging.folder import FolderSource
from client.imaging.label_settings import LabelSettings
from client.imaging.npz import ArraySource
from client.imaging.settings import DataSettings
from client.imaging.sources import open_source
from client.pacs.settings import PULLED
from shared.errors import ConfigError, ResourceError
from shared.study import TaskSpec

Write = Callable[..., Path]


def test_relative_paths_count_from_the_base(tmp_path: Path, write_npz: Write, binary: TaskSpec, salt: bytes) -> None:
    write_npz(images=np.zeros((1, 8, 8), dtype=np.uint8), labels=np.zeros(1, dtype=int))
    settings = DataSettings(kind="npz", file=Path("images.npz"))
    source = open_source(settings, task=binary, salt=salt, base=tmp_path)
    assert isinstance(source, ArraySource)
    assert len(list(source.rows())) == 1


@pytest.mark.parametrize("kind", ["dicom", "nifti", "pictures"])
def test_folders(tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes, kind: str) -> None:
    write_table(["file", "label"], ["a", "1"])
    settings = DataSettings.model_validate({"kind": kind, "folder": ".", "labels": "labels.csv"})
    source = open_source(settings, task=binary, salt=salt, base=tmp_path)
    assert isinstance(source, FolderSource)
    assert [row.source for row in source.rows()] == []  # the label table itself is no finding
    (tmp_path / "a").write_bytes(b"x")
    assert [row.source for row in source.rows()] == [kind]


def test_what_was_pulled_is_the_folder_of_a_pacs(
    tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes
) -> None:
    write_table(["accession", "label"], ["A-1", "1"])
    pacs = {"web": {"url": "https://pacs.hospital.example"}, "query": {"modalities": ["CR"]}}
    settings = DataSettings.model_validate({"kind": "dicom", "labels": "labels.csv", "pacs": pacs})
    with pytest.raises(ResourceError, match="Nothing was pulled"):
        open_source(settings, task=binary, salt=salt, base=tmp_path)
    (tmp_path / PULLED / "ab").mkdir(parents=True)
    (tmp_path / PULLED / "ab" / "a.dcm").write_bytes(b"x")
    source = open_source(settings, task=binary, salt=salt, base=tmp_path)
    assert [row.file for row in source.rows()] == ["ab/a.dcm"]


def test_pictures_need_a_file_column(tmp_path: Path, write_table: Write, binary: TaskSpec, salt: bytes) -> None:
    write_table(["patient", "label"], ["P-1", "1"])
    settings = DataSettings(kind="pictures", folder=Path(), labels=Path("labels.csv"))
    with pytest.raises(ConfigError, match="no column `file`"):
        open_source(settings, task=binary, salt=salt, base=tmp_path)


def test_what_is_absent_is_said(tmp_path: Path, binary: TaskSpec, salt: bytes) -> None:
    with pytest.raises(ResourceError, match="array file"):
        open_source(DataSettings(kind="npz", file=Path("absent")), task=binary, salt=salt, base=tmp_path)


def test_words_for_another_study_are_refused(tmp_path: Path, binary: TaskSpec, salt: bytes) -> None:
    settings, labels = DataSettings(kind="npz", file=Path("a.npz")), LabelSettings(words={"Bruch": "Fracture"})
    with pytest.raises(ConfigError, match=r'labels\.words .* "Bruch" = "Fracture"'):
        open_source(settings, task=binary, salt=salt, base=tmp_path, labels=labels)
