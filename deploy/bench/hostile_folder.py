"""Lays hostile files into a folder, under hostile names, beside what is no file at all.

Decides the names, the links, pipes and devices, and the modules that a careless Python would import from there.
"""

import os
import stat
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.random import Generator

from deploy.bench.hostile_bytes import KINDS, Damage, damaged

_NAMES = (
    *(b"M\xfcller.dcm", b"\xff\xfe", b"new\nline", b"-rf", b"..%2f..%2fout", b"..\\..\\out", b"a" * 255, b"~"),
    *("$(id)", "\u202egpj.exe", "\u0430.dcm", "e\u0301", "\ufeff", " ", "con", "{}", '"', "',", "\x1b[31m"),
)
_TARGETS = (
    *("/dev/zero", "/dev/random", "/dev/full", "/dev/tty", "/etc/passwd", "/proc/self/environ", "/proc/self/fd/0"),
    *("/proc/self/mem", ".", "..", "nowhere", "link-to-itself"),
)
_MODULES = ("numpy.py", "pydicom.py", "client.py", "sitecustomize.py", "json.py", "pickle.py")
_SPARSE = (2**28, 2**28 + 1, 2**40)  # bytes; the limit is 2**28
_DEEP = 40  # folders of 50 letters, within what a path may have
_ZERO = os.makedev(1, 5)


class Laid:
    """What lies in a folder of hostile files.

    Args:
        folder: an empty one.
        chance: decides everything.
        damages: by name, what may be done to a file.

    Attributes:
        kinds: inputs by kind.
        names: files that a label table can name, the plain ones.
    """

    def __init__(self, folder: Path, chance: Generator, damages: Mapping[str, Damage] = KINDS) -> None:
        self._folder, self._chance, self._damages = folder, chance, damages
        self.kinds: Counter[str] = Counter()
        self.names: list[str] = []

    @property
    def files(self) -> int:
        """How many a site should find: one for each that is no folder; a link to one counts."""
        return self.kinds.total()

    def lay(self, sound: Sequence[bytes]) -> None:
        """Damage each of the sound files, and put everything else beside them."""
        self.lay_files(sound, ending="dcm")
        self._odd_names(sound)
        self._no_files()
        self._modules()

    def lay_files(self, sound: Sequence[bytes], *, ending: str) -> None:
        """Damage each of the sound files, and put nothing beside them."""
        for number, (kind, data) in enumerate(damaged(sound, self._chance, self._damages)):
            self.write(f"{number:04}.{ending}", data, kind=kind)

    def write(self, name: str, data: bytes, *, kind: str) -> None:
        """One more file that the label table names."""
        (self._folder / name).write_bytes(data)
        self.names.append(name)
        self._count(kind)

    def _odd_names(self, sound: Sequence[bytes]) -> None:
        for name in (_NAMES[int(number)] for number in self._chance.choice(len(_NAMES), size=4, replace=False)):
            data = sound[int(self._chance.integers(len(sound)))]
            Path(os.fsdecode(os.path.join(os.fsencode(self._folder), os.fsencode(name)))).write_bytes(data)
            self._count("name")
        deep = self._folder.joinpath(*["d" * 50] * _DEEP)
        deep.mkdir(parents=True)
        (deep / "deep.dcm").write_bytes(sound[0])
        self._count("name")

    def _no_files(self) -> None:
        for number, target in enumerate(self._chance.choice(_TARGETS, size=4, replace=False)):
            link = self._folder / ("link-to-itself" if target == "link-to-itself" else f"link-{number}")
            link.symlink_to(str(target))
            self._count("link")
        os.mkfifo(self._folder / "pipe.dcm")
        os.mknod(self._folder / "socket.dcm", stat.S_IFSOCK | 0o600)
        self._count("pipe")
        self._count("socket")
        try:
            os.mknod(self._folder / "device.dcm", stat.S_IFCHR | 0o600, _ZERO)
            self._count("device")
        except PermissionError:  # only root makes devices
            pass
        self._sparse()

    def _sparse(self) -> None:
        """A file that takes no room on the disk and as many bytes as it likes to read."""
        with (self._folder / "sparse.dcm").open("wb") as file:
            file.write(bytes(128) + b"DICM")
            file.truncate(int(self._chance.choice(_SPARSE)))
        self._count("sparse")

    def _modules(self) -> None:
        for name in _MODULES:
            (self._folder / name).write_text("open('imported', 'w').close()\nraise SystemExit\n", encoding="utf-8")
            self._count("module")

    def _count(self, kind: str) -> None:
        self.kinds[kind] += 1
