"""The files under a folder of images: every one, so that an account counts whatever lies there.

Decides what stands for files that are not reached: a folder that this account may not list, and a link to a folder,
which is not followed, because it may lead round in a ring. Each counts as one file, by a reason of its own
(`decoding`). A folder that the disk or share does not list ends the search: images would be missing, and nobody would
know.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ResourceError


def files_under(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those in it, in the order of their paths, and then what hides others.

    Raises:
        ResourceError: a folder cannot be listed.
    """
    hiding: list[Path] = []

    def hear(error: OSError) -> None:
        closed = Path(error.filename)
        if closed == folder or not isinstance(error, PermissionError | FileNotFoundError):
            raise _unlisted(error) from None
        hiding.extend([closed] if isinstance(error, PermissionError) else [])  # what is gone holds nothing

    for parent, folders, names in os.walk(folder, onerror=hear):
        folders.sort()
        hiding += [link for name in folders if (link := Path(parent, name)).is_symlink()]
        yield from (Path(parent, name) for name in sorted(names))
    yield from sorted(hiding)


def _unlisted(error: OSError) -> ResourceError:
    return ResourceError(
        f"A folder of images cannot be listed ({error.strerror}).",
        remedy="Look at the disk or share on which the images lie, and at who may read them.",
    )
