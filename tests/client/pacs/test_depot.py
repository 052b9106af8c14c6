"""What is made of the answers of a DICOMweb service that does not simply store."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from scripted_dicomweb import service

from client.pacs.archive import Away
from client.pacs.depot import WebDepot
from client.pacs.results import Result
from shared.errors import LinkError

RESULT = Result("sr", "ab" * 32, b"a report", Dataset())
FAILED = {"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}}
STORED = {"00081199": {"vr": "SQ", "Value": [{}]}}


def store(answer: tuple[int, object], base: Path) -> None:
    with service([answer]) as settings:
        depot = WebDepot(settings, base)
        try:
            depot.store(RESULT)
        finally:
            depot.close()


@pytest.mark.parametrize("said", [(200, STORED), (200, [STORED]), (200, "as it pleases"), (202, STORED)])
def test_a_plain_yes_counts(tmp_path: Path, said: tuple[int, object]) -> None:
    store(said, tmp_path)


@pytest.mark.parametrize(
    "said",
    [
        (200, FAILED),
        (202, [FAILED]),
        (200, {"00081198": []}),
        (200, {"00081198": None}),
        (202, "perhaps"),
        (409, FAILED),
        (400, {}),
        (403, {}),
    ],
)
def test_whatever_else_is_a_refusal(tmp_path: Path, said: tuple[int, object]) -> None:
    with pytest.raises(LinkError) as caught:
        store(said, tmp_path)
    assert not isinstance(caught.value, Away)


def test_a_pacs_that_restarts_is_away(tmp_path: Path) -> None:
    with pytest.raises(Away, match="503"):
        store((503, {}), tmp_path)
