"""What the auditor's tests share."""

from types import ModuleType

import audited
import pytest


@pytest.fixture(scope="session")
def handed(tmp_path_factory: pytest.TempPathFactory) -> audited.Handed:
    """A real federation's evidence."""
    return audited.hand_over(tmp_path_factory.mktemp("audited"))


@pytest.fixture(scope="session")
def independent() -> ModuleType:
    """The verifier that imports nothing of ours."""
    return audited.independent_verifier()
