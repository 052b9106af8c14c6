"""The Flower app bundle (FAB) of a study: a name and two references, no code.

Built in memory from the files of the installed package, so that it works from any folder. A site's
agent never opens one; what it names is loaded from the wheel at the server.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from importlib.resources import files

import tomli_w
from flwr.cli.build import build_fab_from_files
from flwr.proto.fab_pb2 import Fab

RunValue = str | int | float | bool


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
    content, _ = build_fab_from_files(
        {"pyproject.toml": tomli_w.dumps(project).encode(), "README.md": (folder / "README.md").read_bytes()}
    )
    return Fab(hash_str=hashlib.sha256(content).hexdigest(), content=content)
