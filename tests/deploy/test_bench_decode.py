"""Ours beside pydicom's own, on real files of every transfer syntax."""

import shutil
from pathlib import Path

import pytest
from live_federation import wardround

from deploy.bench.decode import missed, run, show
from shared.console import Answer, envelope
from shared.errors import ConfigError

# One file for each syntax, the smallest there is.
FEW = (
    *("pydicom_data/HTJ2KLossless_08_RGB", "pydicom_data/HTJ2K_08_RGB", "pydicom_data/JPEG-LL"),
    *("pydicom_data/emri_small_jpeg_ls_lossless", "pydicom_data/JLSN_RGB_ILV0", "pydicom_data/emri_small_RLE"),
    *("pydicom_test_files/MR_small_jp2klossless", "pydicom_test_files/JPEG2000", "pydicom_test_files/image_dfl"),
    *("pydicom_test_files/SC_rgb_jpeg_dcmtk", "pydicom_test_files/MR_small_implicit"),
    *("pydicom_test_files/MR_small_bigendian", "pydicom_test_files/MR_small", "pydicom_test_files/MR_truncated"),
)


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    for name in FEW:
        shutil.copy(shared_data / "dicom" / f"{name}.dcm", tmp_path)
    return tmp_path


def test_every_syntax_gives_pydicoms_values(folder: Path) -> None:
    data = run(folder)
    assert list(missed(data)) == []
    assert (data["files"], data["compared"], data["mismatched"]) == (len(FEW), len(FEW) - 1, 0)
    assert data["without_reference"] == 1  # the truncated one, which nobody decodes
    assert data["transfer_syntaxes"] == len(FEW) - 1
    assert data["syntaxes"]["jpeg_2000"]["references"] == ["gdcm", "pillow", "pylibjpeg"]
    assert envelope("bench.decode", Answer(data, show(data)))


def test_a_difference_is_named() -> None:
    one = {"compared": 3, "frames": 3, "mismatched": 1, "without_reference": 0, "references": ["gdcm"]}
    assert list(missed({"compared": 3, "syntaxes": {"rle": one | {"mismatched": 0}}})) == []
    assert "1 of 3 files in rle" in next(missed({"compared": 3, "syntaxes": {"rle": one}}))
    assert list(missed({"compared": 0, "syntaxes": {}})) == ["No image was compared."]


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a folder"):
        run(tmp_path / "nowhere")
    assert wardround("bench", "decode", "--folder", tmp_path / "nowhere").exit_code == 3
