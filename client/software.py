"""Which software a site runs, for its contracts: the code that lies here, and the wheel that it came from.

The code is always told: a digest over every Python file of the distribution, equal at two sites whose files are equal,
however they were installed. The wheel is told only where its installer noted the hash (PEP 610), which pip does for a
wheel that it was given as a file; what comes from an index, or is a checkout, has none. Whether the code of a wheel
was changed after it was installed, the code's digest tells. What a changed file does with it, nothing here can.
"""

import json
import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from shared.canonical import canonical, digest
from shared.fields import Digest
from shared.section import Section

PACKAGES = ("client", "deploy", "server", "shared")


class Software(Section):
    """SHA-256 (hex) over the code, and of the wheel, if that is known."""

    code: Digest
    wheel: Digest | None = None


@cache
def installed() -> Software:
    """What this process runs, as it lay on the disk when this was first asked."""
    root = Path(__file__).resolve().parents[1]
    return Software(code=code_digest(root), wheel=_noted_wheel(root))


def code_digest(root: Path) -> str:
    """SHA-256 (hex) of the canonical JSON that names the SHA-256 of each Python file, by its path from `root`."""
    files = sorted(file for package in PACKAGES for file in (root / package).rglob("*.py"))
    return digest(canonical({file.relative_to(root).as_posix(): digest(file.read_bytes()) for file in files}))


def _noted_wheel(root: Path) -> str | None:
    try:
        found = distribution("wardround")
    except PackageNotFoundError:
        return None
    if Path(str(found.locate_file("client"))).resolve() != root / "client":  # a checkout, or another one's note
        return None
    return wheel_of(found.read_text("direct_url.json") or "{}")


def wheel_of(note: str) -> str | None:
    """The hash that an installer's note (`direct_url.json`) gives of a wheel; None if it gives none."""
    try:
        found = json.loads(note)["archive_info"]["hashes"]["sha256"]
    except (ValueError, LookupError, TypeError):
        return None
    return found if isinstance(found, str) and re.fullmatch(r"[0-9a-f]{64}", found) else None
