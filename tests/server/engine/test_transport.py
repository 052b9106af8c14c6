"""The ServerApp's HTTP client against a real TLS server: whole answers, bounds, and closed connections."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from typing import ClassVar

import httpx
import pytest
from flower_lab import issue

from server.engine.transport import LoopbackTransport, TooLong

BODY = bytes(range(256)) * 8192  # 2 MiB
LIMIT = len(BODY)


def limit_of(path: str) -> int:
    return 2 * LIMIT if path == "/wide" else LIMIT


class Server(http.server.BaseHTTPRequestHandler):
    """Answers /whole, /long, /unsized and /bye; the last one ends the connection after its answer."""

    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[tuple[str, int]]] = set()

    def do_POST(self) -> None:
        self.connections.add(self.client_address)
        sent = self.rfile.read(int(self.headers["content-length"]))
        body = {"/whole": BODY, "/long": BODY + b"x", "/wide": BODY + b"x", "/unsized": BODY, "/echo": sent}.get(
            self.path, b"bye"
        )
        self.send_response(200 if self.path != "/missing" else 404)
        if self.path == "/unsized":
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path == "/bye":
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, ssl.SSLContext]]:
    folder = issue(tmp_path_factory.mktemp("ca"))
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.load_cert_chain(folder / "server.pem", folder / "server.key")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.daemon_threads = True
    server.socket = ours.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", ssl.create_default_context(cafile=folder / "ca.pem")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def client(served: tuple[str, ssl.SSLContext]) -> Iterator[httpx.Client]:
    Server.connections.clear()
    base, context = served
    with httpx.Client(transport=LoopbackTransport(context, limit=limit_of), base_url=base) as client:
        yield client


@pytest.mark.parametrize("path", ["/whole", "/unsized"])
def test_a_whole_answer_arrives(client: httpx.Client, path: str) -> None:
    answer = client.post(path, content=b"question")
    assert (answer.status_code, answer.content) == (200, BODY)


def test_a_request_arrives_whole(client: httpx.Client) -> None:
    assert client.post("/echo", content=BODY).content == BODY


def test_one_connection_serves_one_thread(client: httpx.Client) -> None:
    for _ in range(3):
        client.post("/whole")
    assert len(Server.connections) == 1


def test_a_connection_that_the_server_closed_is_opened_anew(client: httpx.Client) -> None:
    for _ in range(3):
        assert client.post("/bye").content == b"bye"
    assert len(Server.connections) == 3


def test_a_status_is_the_caller_s_matter(client: httpx.Client) -> None:
    assert client.post("/missing").status_code == 404


def test_an_answer_above_the_limit_is_not_read(client: httpx.Client) -> None:
    for _ in range(2):
        with pytest.raises(TooLong):
            client.post("/long")
    assert len(client.post("/wide").content) == LIMIT + 1
    assert client.post("/whole").content == BODY  # on a new connection


def test_a_server_of_another_authority_is_not_spoken_to(served: tuple[str, ssl.SSLContext]) -> None:
    transport = LoopbackTransport(ssl.create_default_context(), limit=limit_of)
    with httpx.Client(transport=transport, base_url=served[0]) as client, pytest.raises(httpx.TransportError):
        client.post("/whole")
