"""The Flower app bundle (FAB) of a study: a name and two references, no code.

Built in memory from the files of the installed package, so that it works from any folder. A site's
agent never opens one; what it names is loaded from the wheel at the server.

Form: a zip of the files and of ``.info/CONTENT``, which lists ``path,sha256,bits`` a line (read in
``flwr/cli/build.py`` and ``flwr/cli/install.py`` of flwr 1.39).
"""

import hashlib
import io
import tomllib
import zipfile
from collections.abc import Mapping
from importlib.resources import files

import tomli_w
from flwr.proto.fab_pb2 import Fab

RunValue = str | int | float | bool

_DATE = (1980, 1, 1, 0, 0, 0)  # the same study gives the same bundle


def build_bundle(run_config: Mapping[str, RunValue], *, serverapp: str) -> Fab:
    """Make the bundle.

    Args:
        run_config: its keys are declared in the bundle, as Flower demands; its values are not in it.
        serverapp: ``module:attribute`` of the ServerApp, importable by the server's interpreter.
    """
    folder = files("server") / "flower_app"
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    app = project["tool"]["flwr"]["app"]
    app["components"]["serverapp"] = serverapp
    app["config"] = {key: type(value)() for key, value in run_config.items()}
    content = _zip(
        {"pyproject.toml": tomli_w.dumps(project).encode(), "README.md": (folder / "README.md").read_bytes()}
    )
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)


def _zip(members: dict[str, bytes]) -> bytes:
    lines = [f"{name},{hashlib.sha256(data).hexdigest()},{len(data) * 8}" for name, data in members.items()]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, data in (members | {".info/CONTENT": "\n".join(lines).encode()}).items():
            bundle.writestr(zipfile.ZipInfo(name, date_time=_DATE), data)
    return buffer.getvalue()
