"""Numbers, never code: a bundle full of code is started at the real SuperLink, and no byte of it reaches a site.

The bundle's own ServerApp runs (at the coordinator, whom Flower trusts) and sends each site a message,
so that every agent has a reason to fetch the bundle, if it ever did.
"""

import hashlib
import io
import time
import zipfile
from pathlib import Path

import psutil
import tomli_w
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control import ControlHttpClient
from live_federation import CalmStudy, LiveFederation

MARKER = "b00by-trap-5f1c"
TRAP = """
# {marker}
from pathlib import Path
Path({trapped!r}).mkdir(exist_ok=True)
(Path({trapped!r}) / "{name}").write_text("{marker}")
app = None
"""
SERVER = """
# {marker}
import time
from pathlib import Path
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp import ServerApp
app = ServerApp()

@app.main()
def main(grid, context):
    nodes = list(grid.get_node_ids())
    content = lambda: RecordDict({{"config": ConfigRecord({{"envelope": b"{marker}", "run": "{marker}"}})}})
    grid.push_messages([Message(content(), node, "train") for node in nodes])
    Path({sent!r}).write_text(str(len(nodes)))
    time.sleep(4)
"""


def bundle(trapped: Path, sent: Path) -> Fab:
    """A bundle whose every file would leave a trace where it runs."""
    project = {
        "project": {"name": "trap", "version": "1.0.0"},
        "tool": {
            "flwr": {
                "app": {
                    "publisher": "trap",
                    "components": {"serverapp": "evil_server:app", "clientapp": "client.app:app"},
                    "config": {},
                }
            }
        },
    }
    names = ("client/app.py", "client/__init__.py", "sitecustomize.py", "usercustomize.py", "client/worker.py")
    files = {
        name: TRAP.format(marker=MARKER, trapped=str(trapped), name=name.replace("/", "_")).encode() for name in names
    }
    files |= {
        "pyproject.toml": tomli_w.dumps(project).encode(),
        "evil_server.py": SERVER.format(marker=MARKER, sent=str(sent)).encode(),
    }
    lines = [f"{name},{hashlib.sha256(data).hexdigest()},{len(data) * 8}" for name, data in files.items()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (files | {".info/CONTENT": "\n".join(lines).encode()}).items():
            archive.writestr(name, data)
    content = buffer.getvalue()
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)


def submit(federation: LiveFederation, fab: Fab) -> None:
    """Start a run through Flower's Control API, which asks no caller who it is."""
    words = psutil.Process(federation.superlink_pid()).cmdline()
    client = ControlHttpClient.from_server_address(
        f"127.0.0.1:{words[words.index('--port') + 1]}",
        insecure=False,
        root_certificates=(federation.federation / "ca" / "certificate.pem").read_bytes(),
        interceptors=[],
    )
    try:
        assert client.StartRun(StartRunRequest(fab=fab)).run_id
    finally:
        client.close()


def test_no_byte_of_a_foreign_bundle_runs_or_is_written_at_a_site(
    federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path
) -> None:
    trapped, sent = tmp_path / "trapped", tmp_path / "sent"
    submit(federation, bundle(trapped, sent))
    federation.until(sent.exists, "the bundle's ServerApp has sent its messages")
    assert sent.read_text() == "3"
    time.sleep(2)
    assert federation.run_study("after-trap") == calm_study.digest
    assert not list(trapped.glob("*client*")), "code of the bundle ran"
    holders = [
        path
        for folder in federation.sites.values()
        for path in folder.rglob("*")
        if path.is_file() and MARKER.encode() in path.read_bytes()
    ]
    assert holders == []
    for name in federation.sites:
        assert MARKER not in (federation.root / "logs" / f"{name}.log").read_text()
