"""A small DICOMweb service on loopback that answers as a test says."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from client.pacs.settings import PacsSettings

Answers = Sequence[tuple[int, object]]


@contextmanager
def service(answers: Answers) -> Iterator[PacsSettings]:
    """The settings of a site whose PACS answers with these (status, JSON), then with the last again and again."""
    left = list(answers)

    class Scripted(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, said = left.pop(0) if len(left) > 1 else left[0]
            body = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/dicom-web"
        try:
            yield PacsSettings.model_validate({"web": {"url": url}, "query": {"modalities": ["CR"]}})
        finally:
            server.shutdown()
            thread.join()
