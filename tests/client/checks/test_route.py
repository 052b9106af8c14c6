"""The proxy on the way to the server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from client.checks.chain import inspects
from client.checks.route import Proxy, open_line, proxy_for
from shared.errors import ConfigError, LinkError
from shared.loopback import ADDRESS


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"https_proxy": "http://proxy.example:3128"}, ("https_proxy", "proxy.example:3128", None)),
        ({"http_proxy": "a:1", "https_proxy": "http://b:2"}, ("https_proxy", "b:2", None)),
        ({"https_proxy": "http://ward:p%40ss@b:2/"}, ("https_proxy", "b:2", "ward:p@ss")),
        ({"https_proxy": "http://b:2", "no_proxy": "localhost,.hospital.example"}, None),
        ({"https_proxy": "http://b:2", "no_proxy": "tal.example"}, ("https_proxy", "b:2", None)),
        ({"HTTPS_PROXY": "http://b:2"}, None),
    ],
)
def test_the_proxy_is_the_one_that_grpc_takes(
    environment: dict[str, str], found: tuple[str, str, str | None] | None
) -> None:
    proxy = proxy_for("fl.hospital.example", environment)
    assert (None if proxy is None else (proxy.variable, proxy.where, proxy.login)) == found


def test_a_password_is_not_shown() -> None:
    proxy = proxy_for("h", {"https_proxy": "http://ward:secret@b:2"})
    assert "secret" not in repr(proxy) + str(proxy and proxy.where)


@pytest.mark.parametrize("text", ["http://", "http://b:no"])
def test_a_variable_that_names_no_proxy_is_to_be_corrected(text: str) -> None:
    with pytest.raises(ConfigError, match="https_proxy"):
        proxy_for("h", {"https_proxy": text})


@contextmanager
def a_proxy(answer: bytes, asked: list[bytes]) -> Iterator[int]:
    """A listener that takes one request, notes it, and answers; its port."""
    with socket.create_server((ADDRESS, 0)) as listener:

        def serve() -> None:
            line, _ = listener.accept()
            with line:
                asked.append(line.recv(4096))
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(listener.getsockname()[1])
        thread.join()


def test_the_line_is_opened_through_the_proxy() -> None:
    asked: list[bytes] = []
    with (
        a_proxy(b"HTTP/1.1 200 OK\r\n\r\nhello", asked) as port,
        open_line("fl.example", 9092, Proxy("https_proxy", ADDRESS, port, "ward:pass")) as line,
    ):
        assert line.recv(5) == b"hello"  # nothing behind the answer was taken
    assert asked[0].startswith(b"CONNECT fl.example:9092 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic d2FyZDpwYXNz\r\n" in asked[0]


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [(b"HTTP/1.1 403 No\r\n\r\n", "permit"), (b"HTTP/1.1 407 Who\r\n\r\n", "password"), (b"", "permit")],
)
def test_a_proxy_that_says_no_is_named_with_what_to_do(answer: bytes, remedy: str) -> None:
    with a_proxy(answer, []) as port, pytest.raises(LinkError, match=f"{ADDRESS}:{port}") as caught:
        open_line("fl.example", 9092, Proxy("https_proxy", ADDRESS, port))
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("issuer", "found"),
    [
        ("Zscaler Intermediate Root CA", True),
        ("FGT60E, Fortinet", True),
        ("north CA", False),
        ("reset authority", False),
    ],
)
def test_products_that_inspect_are_known_by_their_issuers(issuer: str, found: bool) -> None:
    assert inspects(issuer) is found
