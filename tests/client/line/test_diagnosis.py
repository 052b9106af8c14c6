"""What a look at a server that does not answer says of it."""

import gc
import select
import socket
import struct

import pytest

from client.line import diagnosis


def test_a_line_that_is_cut_at_once_is_said_to_be_and_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut(host: str, port: int, **_: object) -> socket.socket:
            line = socket.create_connection((host, port))
            peer, _address = server.accept()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # resets
            peer.close()
            assert select.select([line], [], [], 30)[0]
            return line

        monkeypatch.setattr(diagnosis, "open_line", cut)
        said = diagnosis.diagnose(*server.getsockname(), b"")
    gc.collect()  # a socket that was left open is an error of this test
    assert "ends the connection at once" in said.what
