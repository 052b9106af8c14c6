"""`wardround bench hostile`: hostile image files, folder after folder, before the code that a site reads images with.

Every round damages each file of a folder once, lays what comes of it under hostile names beside links, pipes, devices
and modules, and lets a process play the site over it (`hostile_site`): catalogue, decode, cache. The last file is
a sound one, which must be used whatever came before it. Everything that the site may reach for its own use (home,
temporary files, the folder that it runs in) lies in one place, whose every change outside the cache is counted.
"""

import csv
import json
import math
import os
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Group, RenderableType
from rich.text import Text

from client.imaging.decoder import LIMITS, Decoder, decoding_command
from client.imaging.form import Facts
from client.imaging.kinds import FolderKind, kind_of
from client.imaging.sources import Kind
from deploy.bench import hostile_arrays, hostile_bytes, hostile_headers
from deploy.bench.hostile_folder import Laid
from shared.console import table
from shared.errors import ConfigError

_SOUND = "zzzz-sound.dcm"  # comes last
_MAX_BYTES = 2**20  # of a file that is damaged; larger ones take time and find no more
_OTHERS = 5
_MAX_ARRAY_BYTES = 2**25
_ARRAYS = 20  # damaged files of a round
_DAMAGES = {"dicom": hostile_bytes.KINDS, "npz": hostile_arrays.KINDS}
_SITE_BYTES = 2**30
_GRACE_S = 15  # to start a process anew on a busy machine
_PATIENCE_S = 1800  # for one folder
_LANGUAGE = {"LANG": "C.UTF-8", "PATH": os.defpath}


@dataclass
class Found:
    """What came of all folders so far."""

    kinds: Counter[str] = field(default_factory=Counter)
    set_aside: Counter[str] = field(default_factory=Counter)
    images: int = 0
    used: int = 0
    site_crashes: int = 0
    unaccounted: int = 0
    sound_lost: int = 0
    over_limit: int = 0
    written_outside_cache: int = 0
    slowest_s: float = 0.0
    slowest_file_s: float = 0.0
    decoder_bytes: int = 0
    site_bytes: int = 0


def run(folder: Path, *, seconds: int, seed: int, most: int | None = None) -> dict[str, Any]:
    """Damage the files of a folder, DICOM, NIfTI, pictures or .npz by their names, until the time is over.

    Args:
        folder: sound files; they are read, never changed.
        seconds: after which no other folder is begun.
        seed: decides every file.
        most: inputs after which no other folder is begun either.

    Raises:
        ConfigError: there is no such folder, or no image in it that can be decoded.
    """
    kind = "npz" if _arrays(folder) else kind_of(folder)
    sound, others = _material_of_arrays(folder) if kind == "npz" else _material(folder, kind)
    found, rounds, until = Found(), 0, time.monotonic() + seconds
    while time.monotonic() < until and (most is None or found.kinds.total() < most):
        _round(kind, others, sound, np.random.default_rng([seed, rounds]), found)
        rounds += 1
    return {
        "format": kind,
        "seed": seed,
        "rounds": rounds,
        "inputs": found.kinds.total(),
        **{name: value for name, value in vars(found).items() if not isinstance(value, Counter)},
        "limits": {"seconds": LIMITS.seconds, "file_seconds": LIMITS.file_seconds, "site_bytes": _SITE_BYTES},
        "kinds": dict(sorted(found.kinds.items())),
        "set_aside": dict(found.set_aside.most_common()),
    }


def missed(data: dict[str, Any]) -> Iterator[str]:
    """What a run promised and did not keep."""
    if not data["inputs"]:
        yield "No file was tried."
    for name, what in {
        "site_crashes": "times the site ended",
        "unaccounted": "files stand in no account",
        "sound_lost": "times the sound file at the end was not used",
        "over_limit": "times time or memory went beyond the limits",
        "written_outside_cache": "changes were made outside the cache",
    }.items():
        if data[name]:
            yield f"{data[name]} {what}."


def show(data: dict[str, Any]) -> RenderableType:
    """What was tried, and what a site made of it."""
    tried = ((kind.replace("_", " "), number) for kind, number in data["kinds"].items())
    aside = [("used", data["used"]), *data["set_aside"].items()]
    slowest = f"slowest step {data['slowest_s']:.1f} s, file {data['slowest_file_s']:.1f} s"
    most = f"decoder {data['decoder_bytes'] / 2**20:.0f} MiB, site {data['site_bytes'] / 2**20:.0f} MiB"
    said = f"\n{data['inputs']} inputs in {data['rounds']} folders; {slowest}; {most}"
    return Group(table(("kind", "inputs"), tried), Text(), table(("images", "number"), aside), Text(said))


def _arrays(folder: Path) -> list[Path]:
    """The array files of a folder; if it has any, nothing else in it is looked at."""
    return sorted(path for path in folder.rglob("*.npz") if path.is_file() and path.stat().st_size <= _MAX_ARRAY_BYTES)


def _material_of_arrays(folder: Path) -> tuple[bytes, list[bytes]]:
    """As `_material`: the first array file, and each as often as makes a round worth a process."""
    files = [path.read_bytes() for path in _arrays(folder)]
    return files[0], files * math.ceil(_ARRAYS / len(files))


def _material(folder: Path, kind: FolderKind) -> tuple[bytes, list[bytes]]:
    """The bytes of one image that is decoded, of all others, and of one in `_OTHERS` of what holds no image."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder that is here.", remedy="Correct --folder.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and 0 < path.stat().st_size <= _MAX_BYTES)
    with Decoder(decoding_command(kind, folder)) as decoder:
        found = {path: decoder.facts(path.relative_to(folder).as_posix()) for path in files}
    images = {path: facts.instance or of for path, (of, facts) in found.items() if isinstance(facts, Facts)}
    sound = next((path for path in images if _decoded(folder, path, kind)), None)
    if sound is None:
        raise ConfigError("There is no image to begin with.", remedy="Name a folder of sound files, most of one kind.")
    others = [path for path in files if path not in images][::_OTHERS]
    rest = [path for path, instance in images.items() if instance != images[sound]]  # a duplicate would not be used
    return sound.read_bytes(), [path.read_bytes() for path in (*rest, *others)]


def _decoded(folder: Path, path: Path, kind: FolderKind) -> bool:
    with Decoder(decoding_command(kind, folder)) as decoder:
        content, _ = decoder.facts(name := path.relative_to(folder).as_posix())
        return all(isinstance(image, np.ndarray) for image in decoder.pixels(name, content=content, frames=[0]))


def _round(kind: Kind, others: list[bytes], sound: bytes, chance: np.random.Generator, found: Found) -> None:
    with _fenced() as fence:
        laid = Laid(fence / "images", chance, _DAMAGES.get(kind, hostile_headers.KINDS))
        if kind == "npz":
            laid.lay_files(others, ending="npz")
        else:
            laid.lay(others)
        laid.write(_SOUND, sound, kind="sound")
        with (fence / "labels.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("file", "label", "patient"), *((name, 1, name) for name in laid.names)])
        before = _traces(fence)
        said = _visit(fence, kind)
        after = _traces(fence)
    found.kinds += laid.kinds
    found.written_outside_cache += sum(before.get(name) != after.get(name) for name in before | after)
    judge(said, laid, found)


def judge(said: dict[str, Any] | None, laid: Laid, found: Found) -> None:
    """Add what a site said of one folder, None if it ended otherwise, to what was found."""
    if said is None:
        found.site_crashes += 1
        return
    found.images += said["images"]
    found.used += said["used"]
    found.set_aside += Counter(said["set_aside"])
    found.unaccounted += abs(laid.files - said["files"])
    found.sound_lost += not said["sound"]
    for name in ("slowest_s", "slowest_file_s", "decoder_bytes", "site_bytes"):
        setattr(found, name, max(getattr(found, name), said[name]))
    found.over_limit += said["slowest_s"] > LIMITS.seconds + _GRACE_S
    found.over_limit += said["slowest_file_s"] > LIMITS.file_seconds + _GRACE_S
    found.over_limit += said["site_bytes"] > _SITE_BYTES


@contextmanager
def _fenced() -> Iterator[Path]:
    with TemporaryDirectory(prefix="wardround-hostile-") as name:
        fence = Path(name)
        for folder in ("images", "cache", "home", "temporary"):
            (fence / folder).mkdir()
        yield fence


def _visit(fence: Path, kind: Kind) -> dict[str, Any] | None:
    """What the site says of its images; None if it ended otherwise."""
    images, cache = fence / "images", fence / "cache"
    site = (sys.executable, "-P", "-m", "deploy.bench.hostile_site")
    command = (*site, kind, images, fence / "labels.csv", cache, _SOUND)
    own = {"HOME": str(fence / "home"), "TMPDIR": str(fence / "temporary")}
    try:
        done = subprocess.run(
            command, cwd=images, env=_LANGUAGE | own, capture_output=True, timeout=_PATIENCE_S, check=True
        )
        return dict(json.loads(done.stdout))
    except (subprocess.SubprocessError, ValueError):
        return None


def _traces(fence: Path) -> dict[str, tuple[int, ...]]:
    """What a write would change of each file and folder outside the cache."""
    found: dict[str, tuple[int, ...]] = {}
    for parent, folders, names in os.walk(fence):
        if Path(parent) == fence:
            folders.remove("cache")
        for name in (".", *names):
            is_now = os.lstat(os.path.join(parent, name))
            size = 0 if stat.S_ISDIR(is_now.st_mode) else is_now.st_size
            found[os.path.join(parent, name)] = (is_now.st_ino, is_now.st_mode, size, is_now.st_mtime_ns)
    return found
