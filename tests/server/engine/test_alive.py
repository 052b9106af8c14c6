"""Whether the server answers is asked of the server, not of what stands before it."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.local import free_port
from server.engine.alive import answers
from server.federation import Federation, create_federation


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    """One of which something with the server's certificate listens."""
    port = free_port()
    made = create_federation(tmp_path / "f", name="f", host="127.0.0.1", fleet_port=port, now=int(time.time()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.server_certificate, made.server_key)
    listener = socket.create_server(("127.0.0.1", port))

    def shake_hands() -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = listener.accept()
                context.wrap_socket(line, server_side=True).close()

    thread = threading.Thread(target=shake_hands)
    thread.start()
    yield made
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_the_server_is_asked_and_not_the_proxy(federation: Federation) -> None:
    def proxied(front: int, behind: int) -> Federation:
        ports = {"fleet_port": front, "proxied_port": behind}
        return replace(federation, settings=federation.settings.model_copy(update=ports))

    port = federation.settings.fleet_port
    assert answers(federation)
    assert answers(proxied(free_port(), port))
    assert not answers(proxied(port, free_port()))
