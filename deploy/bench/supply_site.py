"""Plays a site that reads a catalogue: decodes it into the cache, then reads the cache in an epoch's order.

    python -m deploy.bench.supply_site FOLDER CACHE BYTES SEED

Before it begins it lets the kernel refuse it, and each process that decodes for it, more private memory than BYTES
(RLIMIT_DATA, setrlimit(2)). Says in one line of JSON what it read; how much it held is for `supply` to read.
"""

import json
import resource
import sys
from collections.abc import Sequence
from pathlib import Path

from client.imaging.cache import prepare
from client.imaging.examples import SiteData
from client.imaging.settings import DataSettings
from client.imaging.transforms import to_network
from shared.images import ImageSpec
from shared.randomness import StudyRandom
from shared.study import TaskSpec

TASK = TaskSpec(classes=("opacity",))
_IMAGES = ImageSpec(size_px=512, channels=3)
IMAGE_BYTES = 2 * _IMAGES.channels * _IMAGES.size_px**2  # of one in the cache
_SALT = bytes(32)  # pseudonyms of nobody
_BATCH = 32


def site_data(folder: Path, cache: Path, images: ImageSpec) -> SiteData:
    """The catalogue of `supply_files`, all of it to train on."""
    settings = DataSettings(
        kind="dicom",
        folder=Path("images"),
        labels=Path("labels.csv"),
        validation_fraction=0,
        test_fraction=0,
    )
    return prepare(settings, task=TASK, images=images, salt=_SALT, base=folder, cache=cache)


def main(arguments: Sequence[str]) -> None:
    """Read everything once cold and once warm."""
    folder, cache, most_bytes, seed = arguments
    resource.setrlimit(resource.RLIMIT_DATA, (int(most_bytes), int(most_bytes)))
    train = site_data(Path(folder), Path(cache), _IMAGES).train
    order = StudyRandom(int(seed), "epoch").generator().permutation(len(train))
    read = sum(len(to_network(train.images[order[at : at + _BATCH]])) for at in range(0, len(order), _BATCH))
    print(json.dumps({"images": len(train), "read": read, "cache_bytes": train.images.nbytes}))


if __name__ == "__main__":
    main(sys.argv[1:])
