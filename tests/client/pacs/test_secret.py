"""A token or password comes from a file of its owner alone, and stands in no message."""

from pathlib import Path

import pytest

from client.pacs.secret import authorization
from client.pacs.settings import WebSettings
from shared.errors import TrustError

URL = "https://pacs.hospital.example/dicom-web"


def settings(key: str) -> WebSettings:
    return WebSettings.model_validate({"url": URL, key: "secret"})


def write(folder: Path, text: str, mode: int = 0o600) -> None:
    (folder / "secret").write_text(text)
    (folder / "secret").chmod(mode)


def test_a_token_and_a_login_become_the_header(tmp_path: Path) -> None:
    write(tmp_path, "abc.def\n")
    assert authorization(settings("token_file"), tmp_path) == {"Authorization": "Bearer abc.def"}
    write(tmp_path, "w\u00e4rd:pw\n")
    assert authorization(settings("login_file"), tmp_path) == {"Authorization": "Basic d8OkcmQ6cHc="}
    write(tmp_path, "ward:p:w\n")
    assert authorization(settings("login_file"), tmp_path) == {"Authorization": "Basic d2FyZDpwOnc="}
    assert authorization(WebSettings(url=URL), tmp_path) == {}


@pytest.mark.parametrize(
    ("key", "text", "mode"),
    [
        ("token_file", "Planted", 0o640),
        ("login_file", "Planted:x", 0o604),
        ("login_file", "Planted", 0o600),
        ("token_file", "", 0o600),
        ("token_file", "Planted\nX-Header: 1", 0o600),
        ("token_file", "Planted" * 4000, 0o600),
        ("token_file", "Plant\u00e9d", 0o600),
        ("token_file", "\ufeffPlanted", 0o600),
        ("token_file", "\u201cPlanted\u201d", 0o600),
    ],
)
def test_what_cannot_be_used_is_refused_and_not_quoted(tmp_path: Path, key: str, text: str, mode: int) -> None:
    write(tmp_path, text, mode)
    with pytest.raises(TrustError) as caught:
        authorization(settings(key), tmp_path)
    assert not any(word in f"{caught.value.what} {caught.value.remedy}" for word in ("Planted", "Plant\u00e9d"))


def test_a_file_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="token_file"):
        authorization(settings("token_file"), tmp_path)
