"""The site's line through a real forward proxy, and what is said where it does not lead through."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flower_lab import Lab, new_key, public_pem
from tinyproxy import tinyproxy

from client.line.forward_proxy import ForwardProxy
from client.line.way import Way
from shared.errors import LinkError
from shared.loopback import free_port


def through(port: int, login: str | None = None) -> Way:
    return Way(chosen=ForwardProxy("127.0.0.1", port, login))


def failure(lab: Lab, folder: Path, way: Way, **options: object) -> LinkError:
    """The error of a first connection."""
    link = lab.link(new_key(), folder, way=way, **options)
    with pytest.raises(LinkError) as caught:
        link.connect()
    link.close()
    assert caught.value.remedy and "opensesame" not in caught.value.what + caught.value.remedy
    return caught.value


@pytest.mark.parametrize("login", [None, "ward:opensesame"])
def test_the_line_goes_through_the_proxy(lab: Lab, tmp_path: Path, login: str | None) -> None:
    key = lab.key("proxied" if login else "proxied-openly")
    with tinyproxy(tmp_path, to=lab.port, login=login) as proxy:
        link = lab.link(key, tmp_path, way=through(proxy.port, login))
        link.connect()
        assert link.online and link.pull() is None
        link.close()
        assert f"CONNECT 127.0.0.1:{lab.port}" in proxy.log.read_text()
    assert link._fleet.public_key == public_pem(key)


def test_a_password_that_is_missing_or_wrong(lab: Lab, tmp_path: Path) -> None:
    with tinyproxy(tmp_path, to=lab.port, login="ward:opensesame") as proxy:
        missing = failure(lab, tmp_path, through(proxy.port))
        wrong = failure(lab, tmp_path, through(proxy.port, "ward:opensesames"))
    assert missing.what == f"The proxy 127.0.0.1:{proxy.port} asks for a user and a password."
    assert "server.proxy_login_file" in missing.remedy
    assert f"127.0.0.1:{proxy.port} does not take this site's user and password" in wrong.what
    assert "server.proxy_login_file" in wrong.remedy


def test_a_port_that_the_proxy_does_not_open(lab: Lab, tmp_path: Path) -> None:
    with tinyproxy(tmp_path, to=443) as proxy:
        error = failure(lab, tmp_path, through(proxy.port))
    assert f"does not let this site through to 127.0.0.1:{lab.port} (HTTP 403)" in error.what
    assert f"CONNECT to 127.0.0.1:{lab.port}" in error.remedy


def test_a_proxy_that_is_away_and_a_server_behind_one(lab: Lab, tmp_path: Path) -> None:
    away = free_port()
    assert failure(lab, tmp_path, through(away)).what == f"Nothing answers at the proxy 127.0.0.1:{away}."
    nowhere = Way(chosen=ForwardProxy("no-such-proxy.invalid", 3128))
    assert failure(lab, tmp_path, nowhere).what == "The name of the proxy, no-such-proxy.invalid, is not known."
    with tinyproxy(tmp_path, to=away) as proxy:
        error = failure(lab, tmp_path, through(proxy.port), port=away)
    assert f"does not reach 127.0.0.1:{away}" in error.what and "server runs" in error.remedy


@contextmanager
def says(answer: bytes) -> Iterator[int]:
    """Whatever is asked, it says this and hangs up."""

    def serve() -> None:
        while True:
            try:
                line, _ = door.accept()
            except OSError:
                return
            with line:
                line.recv(4096)
                line.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve)
        thread.start()
        yield door.getsockname()[1]
        door.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n", "takes no password"),
        (b"HTTP/1.1 418 Teapot\r\n\r\n", "does not let this site through"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer as a proxy"),
        (b"", "does not answer as a proxy"),
    ],
)
def test_what_is_no_proxy_of_ours(lab: Lab, tmp_path: Path, answer: bytes, sentence: str) -> None:
    with says(answer) as port:
        assert sentence in failure(lab, tmp_path, through(port, "ward:opensesame")).what
