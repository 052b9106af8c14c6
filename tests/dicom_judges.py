"""Other readers of DICOM, of the system's packages, that judge what we write."""

import os
import shutil
import subprocess

import pytest


def tool(name: str, package: str) -> str:
    """Where a reader is; without it the test is skipped, and fails in CI."""
    found = shutil.which(name)
    if found is None:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {name}: apt-get install {package}")
        pytest.skip(f"no {name} here: apt-get install {package}")
    return found


def said_by(*command: object) -> str:
    """All that it said."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr
