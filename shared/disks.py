"""What is known of a disk and of what lies on it: speed of writing, whether it is encrypted, and what files take.

Whether the disk under a folder is encrypted is read from Linux's device tree: a device-mapper volume whose uuid begins
with CRYPT (dm-crypt), on the way from the folder's file system down to the disks. Encryption that does not show there,
such as that of a drive itself, of a file system (ZFS, eCryptfs) or of a storage array, is unknown, and so is the disk
under a network or container file system.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from shared.durable import wait_for_disk
from shared.errors import naming_disk_full

TRIED_BYTES = 16 << 20
_BLOCK = 1 << 20
_SYS = Path("/sys/dev/block")
_MOUNTS = Path("/proc/self/mountinfo")


def write_speed(folder: Path, *, size: int = TRIED_BYTES) -> float:
    """Bytes per second that reach the disk under a folder, by a file that has no name and is gone afterwards.

    Args:
        folder: it must exist.
        size: bytes to write.

    Raises:
        DiskFull: there is no room for them.
        OSError: the disk refused.
    """
    block = os.urandom(_BLOCK)
    with naming_disk_full("There is no room to write."), tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        began = time.perf_counter()
        for _ in range(max(size // _BLOCK, 1)):
            _write_all(file.fileno(), block)
        wait_for_disk(file.fileno())
        return size / max(time.perf_counter() - began, 1e-6)


def encrypted(folder: Path, *, sys: Path = _SYS, mounts: Path = _MOUNTS) -> bool | None:
    """Whether the disk under a folder is encrypted by dm-crypt; None if that cannot be seen.

    Args:
        folder: it must exist.
        sys: block devices by number (sysfs(5)).
        mounts: what is mounted here (proc_pid_mountinfo(5)).
    """
    number = folder.stat().st_dev
    device = sys / f"{os.major(number)}:{os.minor(number)}"
    if not device.exists():
        source = _source(number, mounts)
        device = sys / source if source else device
    if not device.exists():
        return None
    layers = list(_layers(device.resolve()))
    if any((layer / "dm" / "uuid").is_file() and _is_crypt(layer) for layer in layers):
        return True
    return False if any((layer / "device").exists() or (layer / "partition").exists() for layer in layers) else None


def bytes_under(*places: Path) -> int:
    """Bytes of all files under these places, a file of several names once; what goes away meanwhile is not counted.

    Links are not followed.
    """
    return sum({(about.st_dev, about.st_ino): about.st_size for place in places for about in _files(place)}.values())


def _files(place: Path) -> Iterator[os.stat_result]:
    paths = [place] if not place.is_dir() or place.is_symlink() else _below(place)
    for path in paths:
        with contextlib.suppress(OSError):
            yield path.lstat()


def _below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place) / name for name in names)


def _write_all(descriptor: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(descriptor, left) :]


def _source(number: int, mounts: Path) -> str | None:
    """The device number of what a file system without one of its own, such as btrfs, is mounted from."""
    wanted = f"{os.major(number)}:{os.minor(number)}"
    with contextlib.suppress(OSError):
        for line in mounts.read_text().splitlines():
            head, _, tail = line.partition(" - ")
            if head.split()[2] == wanted and (words := tail.split()) and words[1].startswith("/dev/"):
                found = os.stat(words[1]).st_rdev
                return f"{os.major(found)}:{os.minor(found)}"
    return None


def _layers(device: Path) -> Iterator[Path]:
    """A block device and those that it lies on, downwards; of a partition, its disk is none of them."""
    yield device
    slaves = device / "slaves"
    if slaves.is_dir():
        for below in sorted(slaves.iterdir()):
            yield from _layers(below.resolve())


def _is_crypt(layer: Path) -> bool:
    return (layer / "dm" / "uuid").read_text().startswith("CRYPT")
