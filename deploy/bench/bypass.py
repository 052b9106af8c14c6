"""Whether the walls of the source tree find a module that goes round the door.

A copy of the tree gets one module more, which builds a release of its own and sends it. The rules that
every change of this software must keep (`tests/architecture.py`) are then held against the copy. A wheel
brings no tests: there nothing can be shown.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RULES = ("one_door", "one_sender")
PLANTED = "client/planted.py"
BYPASS = """\
from client.egress import Released


def leak(site, parcel, patients):
    site.link.send(parcel, Released(patients, None, None, 0, None))
"""
_ROOT = Path(__file__).parents[2]


def planted_bypass_caught(root: Path = _ROOT) -> bool | None:
    """Plant a bypass in a copy of the tree under `root`: whether each rule finds it, and nothing else.

    Returns:
        None if the tree brings no rules.
    """
    walls = root / "tests/architecture.py"
    if not walls.is_file():
        return None
    with tempfile.TemporaryDirectory(prefix="wardround-bench-") as copy:
        for package in ("shared", "server", "client", "deploy"):
            shutil.copytree(root / package, Path(copy, package), ignore=shutil.ignore_patterns("__pycache__"))
        Path(copy, PLANTED).write_text(BYPASS, encoding="utf-8")
        return all(_found(walls, rule, copy) for rule in RULES)


def _found(walls: Path, rule: str, tree: str) -> bool:
    done = subprocess.run([sys.executable, walls, tree, rule], capture_output=True, text=True, check=False)
    breaches = done.stdout.splitlines()
    return bool(breaches) and all(breach.startswith(f"{PLANTED}:") for breach in breaches)
