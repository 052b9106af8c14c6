"""Numbers, never code: a bundle full of code is started at the real SuperLink, and no byte of it reaches a site.

The bundle's own ServerApp runs (at the coordinator, whom Flower trusts) and sends each site a message,
so that every agent has a reason to fetch the bundle, if it ever did.
"""

import time
from pathlib import Path

from flower_run import packed, submit
from flwr.proto.fab_pb2 import Fab
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
    while len(nodes := list(grid.get_node_ids())) < {sites}:  # one may have been away a moment ago
        time.sleep(0.1)
    content = lambda: RecordDict({{"config": ConfigRecord({{"envelope": b"{marker}", "run": "{marker}"}})}})
    grid.push_messages([Message(content(), node, "train") for node in nodes])
    Path({sent!r}).touch()
    time.sleep(4)
"""


def bundle(trapped: Path, sent: Path, *, sites: int) -> Fab:
    """A bundle whose every file would leave a trace where it runs."""
    names = ("client/app.py", "client/__init__.py", "sitecustomize.py", "usercustomize.py", "client/worker.py")
    traps = {
        name: TRAP.format(marker=MARKER, trapped=str(trapped), name=name.replace("/", "_")).encode() for name in names
    }
    server = SERVER.format(marker=MARKER, sent=str(sent), sites=sites)
    return packed(traps | {"evil_server.py": server.encode()}, "evil_server:app")


def content(path: Path) -> bytes:
    """What a file of a running site says; nothing if it is a folder, or was replaced meanwhile."""
    try:
        return path.read_bytes()
    except (IsADirectoryError, FileNotFoundError):
        return b""


def test_no_byte_of_a_foreign_bundle_runs_or_is_written_at_a_site(
    federation: LiveFederation, calm_study: CalmStudy, tmp_path: Path
) -> None:
    trapped, sent = tmp_path / "trapped", tmp_path / "sent"
    submit(federation, bundle(trapped, sent, sites=len(federation.sites)))
    federation.until(sent.exists, "the bundle's ServerApp has sent its messages")
    time.sleep(2)
    assert federation.run_study("after-trap") == calm_study.digest
    assert not list(trapped.glob("*client*")), "code of the bundle ran"
    holders = [
        path for folder in federation.sites.values() for path in folder.rglob("*") if MARKER.encode() in content(path)
    ]
    assert holders == []
    for name in federation.sites:
        assert MARKER not in (federation.root / "logs" / f"{name}.log").read_text()
