"""What every test may ask for."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of public test images; named by WARDROUND_DATA, else beside the repository."""
    folder = Path(os.environ.get("WARDROUND_DATA") or Path(__file__).parents[2] / "shared" / "data")
    if not folder.is_dir():
        if os.environ.get("CI"):
            pytest.fail("CI must have the test images: set WARDROUND_DATA to their folder")
        pytest.skip("the test images are not here: set WARDROUND_DATA to their folder")
    return folder
