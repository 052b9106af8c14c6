"""The `[data]` table of site.toml."""

import subprocess
import sys
import tomllib

import pytest
from pydantic import ValidationError

from client.imaging.settings import DataSettings

DICOM = """
kind = "dicom"
folder = "/pacs/export"
labels = "labels.csv"
"""


def test_a_table_is_read_with_defaults() -> None:
    settings = DataSettings.model_validate(tomllib.loads(DICOM))
    assert (settings.validation_fraction, settings.test_fraction) == (0.15, 0.15)


def test_it_is_frozen() -> None:
    settings = DataSettings.model_validate(tomllib.loads(DICOM))
    with pytest.raises(ValidationError):
        settings.kind = "npz"  # type: ignore[misc]


def test_it_survives_a_round_trip() -> None:
    settings = DataSettings.model_validate(tomllib.loads(DICOM))
    assert DataSettings.model_validate_json(settings.model_dump_json()) == settings


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": "npz"}, "npz needs file"),
        ({"kind": "npz", "file": "a.npz", "labels": "b.csv"}, "none of the others"),
        ({"kind": "dicom", "folder": "a"}, "folder and labels"),
        ({"kind": "pictures", "labels": "a"}, "folder and labels"),
        ({"kind": "npz", "file": "a.npz", "colour": 1}, "Extra inputs"),
        ({"kind": "nifti", "folder": "a"}, "folder and labels"),
        ({"kind": "minc", "folder": "a"}, "npz"),
        ({"kind": "npz", "file": "a", "test_fraction": 0.6, "validation_fraction": 0.4}, "leave patients"),
        ({"kind": "npz", "file": "a", "test_fraction": -0.1}, "greater than or equal"),
    ],
)
def test_keys_that_do_not_belong_together_are_refused(table: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DataSettings.model_validate(table)


def test_the_agent_may_read_settings_without_torch_or_pydicom() -> None:
    program = (
        "import sys, client.imaging.settings\n"
        "print(sorted({'torch', 'pydicom', 'monai', 'PIL', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
