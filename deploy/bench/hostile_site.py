"""Plays a site over a folder of hostile files: catalogue, decode, cache, as a study would have it done.

    python -m deploy.bench.hostile_site KIND IMAGES LABELS CACHE SOUND

Says in one line of JSON what a site would count, and what the files took: of this process, which must live, and of the
processes that decode, which may die. Whether that is within the limits is for `hostile` to say.
"""

import json
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from client.imaging.cache import fill
from client.imaging.catalogue import Row
from client.imaging.examples import Counts
from client.imaging.form import Pixels
from client.imaging.reasons import Reason
from client.imaging.settings import DataSettings
from client.imaging.sources import Source, open_source
from shared.errors import ConfigError
from shared.images import ImageSpec
from shared.study import TaskSpec

T = TypeVar("T")
TASK = TaskSpec(classes=("finding",))
IMAGES = ImageSpec(size_px=32, channels=3)
# What its header alone sets aside would never be decoded.
_KEEP: tuple[Literal["for_processing", "localizer", "secondary"], ...] = ("for_processing", "localizer", "secondary")
_SALT = bytes(32)  # pseudonyms of nobody


class Timed:
    """A source that remembers its files, and how long the slowest step took, and all frames of the slowest file."""

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self.unmapped = source.unmapped
        self.files: set[str] = set()
        self.slowest_s = self.slowest_file_s = self._last_s = 0.0

    def rows(self) -> Iterator[Row]:
        """Those of the source."""
        for row in self._timed(self._source.rows()):
            self.files.add(row.file)
            yield row

    def decode(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """What the source makes of them."""
        asked, took = tuple(rows), defaultdict[str, float](float)
        for row, image in zip(asked, self._timed(self._source.decode(asked)), strict=True):
            took[row.file] += self._last_s
            self.slowest_file_s = max(self.slowest_file_s, took[row.file])
            yield image

    def masks(self, rows: Iterable[Row]) -> Iterator[Pixels | Reason]:
        """Those of the source."""
        return self._source.masks(rows)

    @property
    def labels_unused(self) -> int:
        """Those of the source."""
        return self._source.labels_unused

    @property
    def mask_files(self) -> int:
        """Those of the source."""
        return self._source.mask_files

    def _timed(self, things: Iterator[T]) -> Iterator[T]:
        while True:
            began = self._clock()
            try:
                thing = next(things)
            except StopIteration:
                return
            finally:
                self._last_s = self._clock() - began
                self.slowest_s = max(self.slowest_s, self._last_s)
            yield thing


def main(arguments: Sequence[str]) -> None:
    """Visit one folder."""
    kind, images, labels, cache, sound = arguments
    found = (
        visit_arrays(Path(images), Path(cache), sound) if kind == "npz" else visit(kind, images, labels, cache, sound)
    )
    print(json.dumps(found))


def visit(kind: str, images: str, labels: str, cache: str, sound: str) -> dict[str, Any]:
    """What a site makes of the files of a folder."""
    settings = DataSettings.model_validate({"kind": kind, "folder": images, "labels": labels, "keep": _KEEP})
    source = Timed(open_source(settings, task=TASK, salt=_SALT, base=Path()))
    used: list[Row] = []
    data = fill(source, settings, task=TASK, images=IMAGES, cache=Path(cache), note=used.extend)
    return {
        "files": len(source.files),
        "images": data.counts.found,
        "used": data.counts.used,
        "set_aside": dict(data.counts.set_aside),
        "slowest_s": round(source.slowest_s, 3),
        "slowest_file_s": round(source.slowest_file_s, 3),
        "decoder_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024,
        "site_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "sound": sound in {row.file for row in used},
    }


def visit_arrays(folder: Path, cache: Path, sound: str) -> dict[str, Any]:
    """What sites make of array files, of which each has one: read where they are used, so that none may end a worker.

    A file that is refused counts as one image that is set aside, `refused`.
    """
    found: dict[str, Any] = {"files": 0, "images": 0, "used": 0, "decoder_bytes": 0, "sound": False}
    aside, slowest = Counter[str](), 0.0
    for file in sorted(folder.iterdir()):
        began = time.monotonic()
        settings = DataSettings(kind="npz", file=file)
        try:
            source = open_source(settings, task=TASK, salt=_SALT, base=Path())
            counts = fill(source, settings, task=TASK, images=IMAGES, cache=cache).counts
        except ConfigError:
            counts = Counts(1, 0, {"refused": 1}, {}, {}, {})
        slowest = max(slowest, time.monotonic() - began)
        found["files"] += 1
        found["images"] += counts.found
        found["used"] += counts.used
        found["sound"] = file.name == sound and counts.used == counts.found
        aside.update(counts.set_aside)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    times = {"slowest_s": round(slowest, 3), "slowest_file_s": round(slowest, 3)}
    return found | times | {"set_aside": dict(aside), "site_bytes": most}


if __name__ == "__main__":
    main(sys.argv[1:])
