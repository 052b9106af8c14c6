"""By which way a site goes to the server: site.toml before the environment, and nothing that is half said."""

from pathlib import Path
from typing import Any

import pytest
from flower_lab import issue
from pydantic import ValidationError

from client.line.forward_proxy import ForwardProxy
from client.line.way import ServerSettings, Way, way_of
from shared.errors import ConfigError, TrustError

BY_ENVIRONMENT = {"https_proxy": "http://ward:open%40sesame@proxy.example:3128"}


def way(tmp_path: Path, environment: dict[str, str], **settings: Any) -> Way:
    return way_of(ServerSettings(**settings), tmp_path, environment)


def login_file(tmp_path: Path, text: str = "ward:open sesame\n", mode: int = 0o600) -> str:
    (tmp_path / "proxy.login").write_text(text)
    (tmp_path / "proxy.login").chmod(mode)
    return "proxy.login"


def test_without_a_word_the_server_is_dialled(tmp_path: Path) -> None:
    assert way(tmp_path, {}).proxy_to("fl.example") is None


def test_the_file_comes_before_the_environment(tmp_path: Path) -> None:
    settings = {"proxy": "http://10.0.0.1:8080", "proxy_login_file": login_file(tmp_path)}
    found = way(tmp_path, {**BY_ENVIRONMENT, "no_proxy": "*"}, **settings)
    assert found.proxy_to("fl.example") == ForwardProxy("10.0.0.1", 8080, "ward:open sesame")
    assert "sesame" not in repr(found)


@pytest.mark.parametrize(
    ("no_proxy", "host", "by_proxy"),
    [
        ("", "fl.example", True),
        ("other.example", "fl.example", True),
        (".example", "fl.example", False),
        ("localhost,fl.example", "fl.example", False),
        ("*", "fl.example", False),
        ("10.0.0.0/8, ,l.example", "fl.example", True),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("", "127.0.0.1", False),
    ],
)
def test_the_environment_names_a_proxy_and_whom_it_spares(
    tmp_path: Path, no_proxy: str, host: str, *, by_proxy: bool
) -> None:
    found = way(tmp_path, {**BY_ENVIRONMENT, "no_proxy": no_proxy}).proxy_to(host)
    assert found == (ForwardProxy("proxy.example", 3128, "ward:open@sesame") if by_proxy else None)


@pytest.mark.parametrize("url", ["https://proxy.example:3128", "http://", "http://proxy.example:what"])
def test_an_environment_that_names_no_proxy_is_said_without_its_password(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="https_proxy") as caught:
        way(tmp_path, {"HTTPS_PROXY": url.replace("://", "://ward:sesame@")})
    assert "sesame" not in caught.value.what + caught.value.remedy


@pytest.mark.parametrize(
    "settings",
    [
        {"proxy": "http://ward:sesame@proxy.example:3128"},
        {"proxy": "https://proxy.example:3128"},
        {"proxy": "http://proxy.example"},
        {"proxy": "http://proxy.example:99999"},
        {"proxy_login_file": "proxy.login"},
        {"accept_tls_inspection": True},
        {"inspection_ca": "ca.pem"},
    ],
)
def test_what_is_half_said_or_holds_a_password_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ServerSettings(**settings)


@pytest.mark.parametrize(("text", "mode"), [("ward:sesame", 0o644), ("sesame", 0o600), ("", 0o600)])
def test_a_password_file_that_is_open_or_holds_none_is_refused(tmp_path: Path, text: str, mode: int) -> None:
    settings = {"proxy": "http://proxy.example:3128", "proxy_login_file": login_file(tmp_path, text, mode)}
    with pytest.raises(TrustError, match="proxy_login_file") as caught:
        way(tmp_path, {}, **settings)
    assert "sesame" not in caught.value.what


def test_an_inspection_s_file_holds_authorities_and_nothing_else(tmp_path: Path) -> None:
    folder = issue(tmp_path / "inspection")
    accepted = {"accept_tls_inspection": True}
    found = way(tmp_path, {}, **accepted, inspection_ca=folder / "ca.pem")
    assert found.inspection == (folder / "ca.pem").read_bytes() and found.inspectors()["accepted"]
    for wrong in (folder / "server.pem", folder / "server.key", folder / "none.pem"):
        with pytest.raises(ConfigError, match="inspection_ca"):
            way(tmp_path, {}, **accepted, inspection_ca=wrong)
