"""Which studies use which entry of the image cache: an empty file `DIGEST.study` in it for each, touched at each use.

What an entry holds, and whether it is whole, `client/imaging/cache.py` decides.
"""

from pathlib import Path

_SUFFIX = ".study"


def note_use(entry: Path, study_digest: str) -> None:
    """A study uses an entry now."""
    (entry / f"{study_digest}{_SUFFIX}").touch(mode=0o600)


def forget_use(entry: Path, study_digest: str) -> None:
    """A study uses an entry no more."""
    (entry / f"{study_digest}{_SUFFIX}").unlink(missing_ok=True)


def users(entry: Path) -> set[str]:
    """The digests of the studies that have used an entry."""
    return {path.stem for path in entry.glob(f"*{_SUFFIX}")}


def last_use(entry: Path) -> float:
    """When an entry was used last, or made; Unix seconds."""
    return max(path.stat().st_mtime for path in (entry, *entry.glob(f"*{_SUFFIX}")))


def entries(cache: Path) -> list[Path]:
    """Those of a cache, the one in the making left out."""
    return sorted(path for path in cache.glob("[!.]*") if path.is_dir())
