"""The backbones at a site: weights that studies freeze, by their SHA-256, so that none travels twice.

They lie in the site's folder under `backbones/`, one safetensors file each. Hospital IT may put one there under any
other name ending in `.safetensors` before a study needs it, and takes it away; else the first study that does brings
it, as `DIGEST.brought.safetensors`, and it goes once no study here pins it. A file is what its bytes are, whatever its
name. Whether they are a sound model is `client/intake.py`'s question.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.durable import fsync_folder

FOLDER = "backbones"
_SUFFIX = ".safetensors"
_BROUGHT = re.compile(r"([0-9a-f]{64})\.brought\.safetensors")


class Backbones:
    """Those of one site.

    Args:
        site: its folder.
    """

    def __init__(self, site: Path) -> None:
        self._folder = site / FOLDER

    def find(self, sha256: str) -> Path | None:
        """The file with these bytes; one that bears the digest's name is looked at first."""
        named = self.brought(sha256)
        others = sorted(self._folder.glob(f"[!.]*{_SUFFIX}"))
        return next((path for path in (named, *others) if _digest(path) == sha256), None)

    @contextmanager
    def arriving(self, sha256: str) -> Iterator[Path]:
        """Where to write a file that comes; it takes its name once the block has let it pass, and else is gone."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        part = self._folder / f".{sha256}.part"
        try:
            yield part
            part.replace(self.brought(sha256))
            fsync_folder(self._folder)
        finally:
            part.unlink(missing_ok=True)

    def forget(self, but: Collection[str]) -> list[str]:
        """Remove what openings brought, but those of these digests; the digests of what went."""
        named = (_BROUGHT.fullmatch(path.name) for path in self._folder.glob(f"*{_SUFFIX}"))
        gone = sorted({found[1] for found in named if found} - set(but))
        for sha256 in gone:
            self.brought(sha256).unlink(missing_ok=True)
        return gone

    def brought(self, sha256: str) -> Path:
        """Where the file lies, or would lie, that an opening brings."""
        return self._folder / f"{sha256}.brought{_SUFFIX}"


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
