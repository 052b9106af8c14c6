"""The PACS benchmark: its promise holds, and what breaks it is found."""

import os
from typing import Any

import pytest
from dicom_judges import tool

from deploy.bench.orthanc import installed
from deploy.bench.pacs import WAYS, missed, run

WAY = {"before_cut": 5, "before_kill": 10, "came_after": 10, "pulled": 20, "failed": 0, "resumed": True}
SOUND = {"stored": 20, "pulled": 20, "rounds_trained": 1, "sr_stored": 1, "dciodvfy_errors": 0}
SOUND |= {"left_processes": 0, "left_ports": 0}


def found(**changes: Any) -> list[str]:
    """What is missed where one way, or the whole, is as said."""
    way = {key: value for key, value in changes.items() if key in WAY}
    return list(missed(SOUND | changes | {"ways": {"web": WAY, "get": WAY | way}}))


def test_each_broken_promise_is_named() -> None:
    assert found() == []
    assert found(pulled=19) == ["By get 19 of 20 instances came."]
    assert found(failed=1) == ["By get 20 of 20 instances came."]
    assert found(resumed=False) == ["By get the pull did not go on where it was."]
    assert found(rounds_trained=0) == ["No round was trained on what was pulled."]
    assert found(sr_stored=0) == ["The PACS holds 0 reports; one was stored."]
    assert found(dciodvfy_errors=2) == ["dciodvfy finds 2 errors in the report that was stored."]
    assert found(left_processes=1) == ["1 processes and 0 ports stayed behind."]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sites_pull_from_a_real_pacs_and_train() -> None:
    tool("dciodvfy", "dicom3tools")
    if installed() is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have a PACS: apt-get install orthanc orthanc-dicomweb")
        pytest.skip("no Orthanc here: apt-get install orthanc orthanc-dicomweb")
    data = run()
    assert list(missed(data)) == []
    assert data["stored"] == data["pulled"] >= 20
    assert data["resumed_after_cut"]
    assert (data["rounds_trained"], data["left_processes"]) == (1, 0)
    assert (data["sr_stored"], data["dciodvfy_errors"]) == (1, 0)
    assert data["ways"].keys() == set(WAYS)
