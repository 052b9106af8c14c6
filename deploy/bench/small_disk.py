"""A small disk of its own under a folder, which can be filled: a tmpfs, so Linux and root only."""

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ResourceError

BALLAST = ".ballast"
_PIECE = bytes(1 << 20)


@contextlib.contextmanager
def small_disk(folder: Path, *, mib: int) -> Iterator[Path]:
    """Mount an empty disk on a folder, made if missing, until the block ends; what lies on it then stays there.

    Args:
        folder: what it is mounted on.
        mib: its size in MiB.

    Raises:
        ResourceError: this system or this account cannot.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if (reason := _mount(folder, mib=mib)) is not None:
        raise ResourceError(f"A small disk cannot be mounted: {reason}.", remedy="Run as root on Linux.")
    try:
        yield folder
    finally:
        kept = Path(tempfile.mkdtemp(prefix=".disk-", dir=folder.parent))
        shutil.copytree(folder, kept, dirs_exist_ok=True)
        subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)
        kept.replace(folder)


def why_not() -> str | None:
    """Why no small disk can be had here; None if it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux"
    with tempfile.TemporaryDirectory(prefix="wardround-disk-") as folder, contextlib.ExitStack() as stack:
        try:
            stack.enter_context(small_disk(Path(folder), mib=1))
        except ResourceError as error:
            return error.what
    return None


def fill(folder: Path) -> None:
    """Write until the disk has no room."""
    with (folder / BALLAST).open("ab", buffering=0) as file:
        try:
            while file.write(_PIECE):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def make_room(folder: Path) -> None:
    """Take away what `fill` wrote."""
    (folder / BALLAST).unlink(missing_ok=True)


def _mount(folder: Path, *, mib: int) -> str | None:
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0700", "wardround-bench", str(folder)]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        return "there is no mount command"
    return None if done.returncode == 0 else (done.stderr.strip() or "mount failed")
