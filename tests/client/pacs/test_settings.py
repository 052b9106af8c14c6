"""Which keys of `[data.pacs]` belong together."""

from typing import Any

import pytest
from pydantic import ValidationError

from client.imaging.settings import DataSettings
from client.pacs.settings import PULLED, PacsSettings

WEB = {"web": {"url": "https://pacs.hospital.example/dicom-web"}, "query": {"modalities": ["CR"]}}
DIMSE = {"dimse": {"host": "10.0.0.5", "port": 104, "called": "PACS"}, "query": {"body_parts": ["CHEST"]}}


def test_a_pacs_stands_in_the_place_of_the_folder() -> None:
    data = DataSettings.model_validate({"kind": "dicom", "labels": "labels.csv", "pacs": WEB})
    assert data.images == PULLED
    with pytest.raises(ValidationError):
        DataSettings.model_validate({"kind": "dicom", "labels": "labels.csv", "folder": "images", "pacs": WEB})
    with pytest.raises(ValidationError):
        DataSettings.model_validate({"kind": "pictures", "labels": "labels.csv", "pacs": WEB})


@pytest.mark.parametrize(
    "keys",
    [
        WEB,
        DIMSE,
        WEB | {"web": {"url": "http://127.0.0.1:8042/dicom-web", "login_file": "login"}},
        WEB | {"query": {"first_day": "2024-01-01"}},
        DIMSE | {"dimse": DIMSE["dimse"] | {"retrieve": "move", "storage_host": "10.0.0.9", "storage_port": 11112}},
    ],
)
def test_what_belongs_together_is_taken(keys: dict[str, Any]) -> None:
    assert PacsSettings.model_validate(keys)


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        (WEB | DIMSE, "or by"),
        ({"query": {"modalities": ["CR"]}}, "or by"),
        ({"web": WEB["web"]}, "query"),
        (WEB | {"query": {}}, "whole PACS"),
        (WEB | {"query": {"modalities": ["cr*"]}}, "modalities"),
        (WEB | {"query": {"first_day": "2024-02-01", "last_day": "2024-01-01"}}, "before"),
        (WEB | {"web": {"url": "http://pacs/dicom-web", "login_file": "login"}}, "https alone"),
        (WEB | {"web": WEB["web"] | {"login_file": "login", "token_file": "token"}}, "together"),
        (WEB | {"web": {"url": "https://user:password@pacs/dicom-web"}}, "url"),
        (WEB | {"key": "key.pem"}, "together"),
        (DIMSE | {"dimse": DIMSE["dimse"] | {"retrieve": "move"}}, "storage_host"),
        (DIMSE | {"dimse": DIMSE["dimse"] | {"storage_port": 11112}}, "storage_host"),
        (DIMSE | {"dimse": DIMSE["dimse"] | {"called": "A\\B"}}, "called"),
    ],
)
def test_what_does_not_is_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        PacsSettings.model_validate(keys)


@pytest.mark.parametrize("path", ["projects/hospital", "projects/hospital/"])
def test_the_label_is_of_one_service_and_not_of_its_host(path: str) -> None:
    def label(url: str) -> str:
        return PacsSettings.model_validate(WEB | {"web": {"url": url}}).label

    mine = label(f"https://PACS.example/{path}")
    assert mine == label("https://pacs.example:443/projects/hospital") == "https://pacs.example:443/projects/hospital"
    for other in ("https://pacs.example/projects/stranger", "https://pacs.example:8443/projects/hospital"):
        assert label(other) != mine
    assert label("http://pacs.example/projects/hospital") != mine
    assert label("http://[::1]/dicom-web") == "http://[::1]:80/dicom-web"
    with pytest.raises(ValidationError):
        label("https://pacs.example:99999/dicom-web")
