"""Runs that a test starts through Flower's Control API, which asks no caller who it is."""

import hashlib
import io
import zipfile

import psutil
import tomli_w
from flwr.proto.control_pb2 import StartRunRequest
from flwr.proto.fab_pb2 import Fab
from flwr.supercore.control import ControlHttpClient
from live_federation import LiveFederation


def packed(files: dict[str, bytes], serverapp: str) -> Fab:
    """A Flower app bundle of these files."""
    app = {
        "publisher": "trap",
        "components": {"serverapp": serverapp, "clientapp": "client.app:app"},
        "config": {},
    }
    project = {"project": {"name": "trap", "version": "1.0.0"}, "tool": {"flwr": {"app": app}}}
    files = files | {"pyproject.toml": tomli_w.dumps(project).encode()}
    lines = [f"{name},{hashlib.sha256(data).hexdigest()},{len(data) * 8}" for name, data in files.items()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in (files | {".info/CONTENT": "\n".join(lines).encode()}).items():
            archive.writestr(name, data)
    content = buffer.getvalue()
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)


def control_of(federation: LiveFederation) -> tuple[str, bytes]:
    """Where the SuperLink's Control API listens, and the CA that vouches for it."""
    words = psutil.Process(federation.superlink_pid()).cmdline()
    address = f"127.0.0.1:{words[words.index('--port') + 1]}"
    return address, (federation.federation / "ca" / "certificate.pem").read_bytes()


def submit(federation: LiveFederation, fab: Fab) -> None:
    """Start a run of a bundle."""
    address, ca = control_of(federation)
    client = ControlHttpClient.from_server_address(address, insecure=False, root_certificates=ca, interceptors=[])
    try:
        assert client.StartRun(StartRunRequest(fab=fab)).run_id
    finally:
        client.close()
