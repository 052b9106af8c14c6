"""The wheel under test: built from this tree, and installed where nothing else of ours is.

The packages that it needs are taken from the environment that runs the drill, so that nothing is fetched; the
code of Wardround is not: only the environment's `site-packages` is added, and an editable install is not seen there.
"""

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from drill.broken import Broken
from drill.guides import ROOT
from drill.machine import MARK
from drill.network import shell

PACKAGES = ("client", "deploy", "server", "shared")
_WHERE = f"import json, {', '.join(PACKAGES)}; print(json.dumps([m.__path__[0] for m in ({', '.join(PACKAGES)})]))"


@dataclass(frozen=True)
class Installed:
    """An environment with the wheel in it."""

    folder: Path
    wheel: str
    sha256: str

    @property
    def programs(self) -> Path:
        """Where `wardround` lies."""
        return self.folder / "bin"

    @property
    def python(self) -> Path:
        """The environment's Python."""
        return self.programs / "python"


def install_wheel(place: Path) -> Installed:
    """Build the wheel under a folder and install it there.

    Raises:
        Broken: it cannot be built or installed, or the code that runs is not the wheel's.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(place / "dist")]
    here = {**os.environ, "TMPDIR": str(place), MARK: place.name}  # a build that is broken off goes with the drill
    if subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=here).returncode:
        raise Broken("The wheel cannot be built: run `make dist`.")
    (wheel,) = (place / "dist").glob("*.whl")
    made = Installed(place / "env", wheel.name, sha256(wheel.read_bytes()).hexdigest())
    shell(sys.executable, "-m", "venv", "--without-pip", str(made.folder), environment=here)
    pip = (sys.executable, "-m", "pip", "--python", str(made.python), "install", "--quiet", "--no-deps")
    shell(*pip, str(wheel), environment=here)
    _lend_packages(made)
    found = json.loads(shell("env", "--chdir=/", str(made.python), "-P", "-c", _WHERE))
    if not all(Path(path).is_relative_to(made.folder) for path in found):
        raise Broken("The code of Wardround does not come from the wheel.")
    return made


def _lend_packages(made: Installed) -> None:
    """What the wheel needs, and Flower's programs, as pip would have written them here."""
    lent = Path(sysconfig.get_path("purelib"))
    (site,) = made.folder.glob("lib/python*/site-packages")
    (site / "lent.pth").write_text(f"{lent}\n")
    for program in Path(sysconfig.get_path("scripts")).glob("fl[ow]*r*"):
        _, _, body = program.read_text().partition("\n")
        copy = made.programs / program.name
        copy.write_text(f"#!{made.python}\n{body}")
        os.chmod(copy, 0o755)
