"""The site's spool: what was finished for (study, round, incoming model) is kept until the receipt.

A replay of the same work re-sends these bytes and costs no privacy; the same round asked again
with another incoming model is refused, because two answers for one round tell more than one.
The record of an answered round stays when its bytes are forgotten.
"""

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from client.jobs import UPDATE_FILE
from shared.durable import fsync_folder, write_atomically
from shared.errors import Refusal, WireCode
from shared.wire import Ready

_READY = "ready.json"


@dataclass(frozen=True)
class Spooled:
    """A finished round: the body that reported it and, until the receipt, the update's bytes."""

    ready: Ready
    update: Path | None


class SiteSpool:
    """Finished rounds of all studies at one site, under `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def workplace(self, study: str, number: int) -> Path:
        """A fresh folder where the worker writes; its content counts only once `keep` was called.

        Its name never comes again: the worker of an agent that was killed may still write to its own.
        """
        target = self._round(study, number)
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f"{target.name}.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix=f"{target.name}.", suffix=".partial", dir=target.parent))

    def keep(self, ready: Ready, workplace: Path) -> Spooled:
        """Make a finished round durable, with its update if `workplace` holds one."""
        update = workplace / UPDATE_FILE
        if update.exists():
            with update.open("rb") as file:
                os.fsync(file.fileno())
        write_atomically(workplace / _READY, ready.model_dump_json().encode(), mode=0o600)
        target = self._round(ready.address.study, ready.address.round)
        workplace.rename(target)
        fsync_folder(target.parent)
        return Spooled(ready, target / UPDATE_FILE if update_exists(target) else None)

    def find(self, study: str, number: int, model_digest: str) -> Spooled | None:
        """What was finished for this round and incoming model, if anything.

        Raises:
            Refusal: `MODEL_SWITCHED`, the round was answered for another model.
        """
        place = self._round(study, number)
        if not (place / _READY).exists():
            return None
        ready = Ready.model_validate_json((place / _READY).read_bytes())
        if ready.model_digest != model_digest:
            raise Refusal(WireCode.MODEL_SWITCHED, remedy="Ask the coordinator why the round's model changed.")
        return Spooled(ready, place / UPDATE_FILE if update_exists(place) else None)

    def find_update(self, study: str, number: int, update_digest: str) -> Spooled | None:
        """The spooled round whose update has this digest."""
        place = self._round(study, number)
        if not update_exists(place):
            return None
        ready = Ready.model_validate_json((place / _READY).read_bytes())
        return Spooled(ready, place / UPDATE_FILE) if ready.update_digest == update_digest else None

    def forget_updates(self, study: str, *, through: int) -> list[int]:
        """Drop the update bytes of rounds <= `through`; the records that they were answered stay."""
        dropped = []
        for place in sorted((self._folder / study).glob("round-[0-9]*")):
            number = int(place.name.removeprefix("round-").split(".")[0])
            if number > through:
                continue
            if place.suffix:
                shutil.rmtree(place, ignore_errors=True)
            elif update_exists(place):
                (place / UPDATE_FILE).unlink()
                dropped.append(number)
        return dropped

    def _round(self, study: str, number: int) -> Path:
        return self._folder / study / f"round-{number:06d}"


def update_exists(place: Path) -> bool:
    """Whether a spooled round still has its update's bytes."""
    update = place / UPDATE_FILE
    return update.is_file() and not update.is_symlink()


def written_update(workplace: Path, *, limit: int) -> tuple[str, int] | None:
    """SHA-256 (hex) and size of the update that a worker left in its folder; None if it left none.

    Raises:
        Refusal: `CONTRACT`, there is something else than a plain file of at most `limit` bytes.
    """
    try:
        descriptor = os.open(workplace / UPDATE_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link, a socket
            raise _not_an_update() from None
        raise
    with open(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_size > limit:
            raise _not_an_update()
        return hashlib.file_digest(file, "sha256").hexdigest(), about.st_size


def _not_an_update() -> Refusal:
    return Refusal(WireCode.CONTRACT, remedy="Nothing was released: the worker left no plain file of the agreed size.")
