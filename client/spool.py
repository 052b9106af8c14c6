"""The site's spool: what was finished for (study, round, incoming model) is kept until the receipt.

A replay of the same work re-sends these bytes and costs no privacy; the same round asked again
with another incoming model is refused, because two answers for one round tell more than one.
The record of an answered round stays when its bytes are forgotten. Beside it stays whom the round drew, so that a
replay can be held against floors that were raised meanwhile (`client/floors.py`).

What the site keeps of a round for its own next one (`state`: the layers that do not travel) lies beside
the round's update and becomes durable with it, by the same rename. It never leaves. The state of a
round stays until the server's word that a later round of this site has counted.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from client.jobs import STATE_FILE, UPDATE_FILE, Drawn
from client.seen_model import forget_seen
from shared.durable import fsync_folder, name_again, wait_for_disk, write_atomically
from shared.errors import Refusal, WireCode
from shared.wire import Late, Ready, Work

_READY, _DRAWN = "ready.json", "drawn.json"
RECORDS = frozenset({_READY, _DRAWN})  # of an answered round, which stay


@dataclass(frozen=True)
class Spooled:
    """A finished round: the body that reported it, whom it drew, and, until the receipt, the update's bytes."""

    ready: Ready
    drawn: Drawn
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

    def keep(self, ready: Ready, workplace: Path, *, drawn: Drawn) -> Spooled:
        """Make a finished round durable, with its update and its state if `workplace` holds them."""
        for path in (workplace / UPDATE_FILE, workplace / STATE_FILE):
            if path.exists():
                with path.open("rb") as file:
                    wait_for_disk(file.fileno())
        write_atomically(workplace / _DRAWN, drawn.model_dump_json().encode(), mode=0o600)
        write_atomically(workplace / _READY, ready.model_dump_json().encode(), mode=0o600)
        target = self._round(ready.address.study, ready.address.round)
        workplace.rename(target)
        fsync_folder(target.parent)
        return Spooled(ready, drawn, target / UPDATE_FILE if update_exists(target) else None)

    def find(self, study: str, number: int, model_digest: str) -> Spooled | None:
        """What was finished for this round and incoming model, if anything.

        Raises:
            Refusal: `MODEL_SWITCHED`, the round was answered for another model.
        """
        place = self._round(study, number)
        if not (place / _READY).exists():
            return None
        done = _read(place)
        if done.ready.model_digest != model_digest:
            raise Refusal(WireCode.MODEL_SWITCHED, remedy="Ask the coordinator why the round's model changed.")
        return done

    def answered(self, study: str, number: int) -> bool:
        """Whether a round was finished here, or answered by late work; its bytes may be forgotten."""
        return (self._round(study, number) / _READY).exists()

    def find_unforgotten(self, study: str, number: int) -> Spooled | None:
        """What was finished for this round, if its update is still here."""
        place = self._round(study, number)
        return _read(place) if update_exists(place) else None

    def newest_unforgotten(self, study: str, rounds: range) -> Spooled | None:
        """Of these rounds, what was finished last and still has its update."""
        return next((done for number in reversed(rounds) if (done := self.find_unforgotten(study, number))), None)

    def carry(self, done: Spooled, work: Work) -> Spooled:
        """Let work that was late for its own round be the answer to a later one, too; the bytes are the same file."""
        assert done.update is not None
        place, was = work.address, done.ready
        late = was.late or Late(round=was.address.round, model_digest=was.model_digest)
        told = {"address": place, "model_digest": work.model_digest, "late": late, "scores": ()}
        workplace = self.workplace(place.study, place.round)
        name_again(done.update, workplace / UPDATE_FILE)
        state = done.update.with_name(STATE_FILE)
        if state.exists():
            name_again(state, workplace / STATE_FILE)
        return self.keep(was.model_copy(update=told), workplace, drawn=done.drawn)

    def find_update(self, study: str, number: int, update_digest: str) -> Spooled | None:
        """The spooled round whose update has this digest."""
        done = self.find_unforgotten(study, number)
        return done if done is not None and done.ready.update_digest == update_digest else None

    def go_on(self, study: str, *, counted: int, before: int, keeps: bool, needs: bool) -> Path | None:
        """The state that work on round `before` goes on from; no other of an earlier round is kept on.

        Args:
            study: its name.
            counted: the last round in which this site counted, by the server's word; 0 if there is none.
            before: the round to work on.
            keeps: whether the study keeps a state at all.
            needs: whether it cannot go on without.

        Returns:
            The state of the round that counted; None before the first, and where it is not here and not needed.

        Raises:
            Refusal: `STATE_LOST`, that state is needed and not here.
        """
        for path in (self._folder / study).glob(f"round-*/{STATE_FILE}"):
            number = path.parent.name.removeprefix("round-")
            if number.isdigit() and int(number) < before and int(number) != counted:
                path.unlink()
        if not keeps or not counted:
            return None
        state = self._round(study, counted) / STATE_FILE
        if not state.is_file():
            if not needs:
                return None
            raise Refusal(WireCode.STATE_LOST, remedy="Restore the site's folder `spool/` from backup.")
        return state

    def clear(self, study: str) -> None:
        """Remove what a study that is over began and never kept; the worker is not on it."""
        for left in (self._folder / study).glob("round-*.partial"):
            shutil.rmtree(left, ignore_errors=True)

    def forget_models(self, studies: Iterable[str]) -> None:
        """Remove the models seen last in these studies."""
        for study in studies:
            forget_seen(self._folder / study)

    def discard(self, rehearsal: str) -> None:
        """Remove everything of a rehearsal, which never finishes a round."""
        for left in (self._folder / rehearsal).glob("round-000000.*.partial"):
            shutil.rmtree(left, ignore_errors=True)
        with contextlib.suppress(OSError):  # not there, or a study's
            (self._folder / rehearsal).rmdir()

    def forget_updates(self, study: str, *, through: int, in_hand: Collection[Path] = ()) -> list[int]:
        """Drop the update bytes of rounds <= `through`, and workplaces that are not in hand any more.

        The records that the rounds were answered stay.
        """
        dropped = []
        for place in sorted((self._folder / study).glob("round-[0-9]*")):
            number = int(place.name.removeprefix("round-").split(".")[0])
            if number > through:
                continue
            if place in in_hand:
                continue
            if place.suffix:
                shutil.rmtree(place, ignore_errors=True)
            elif update_exists(place):
                (place / UPDATE_FILE).unlink()
                dropped.append(number)
        return dropped

    def _round(self, study: str, number: int) -> Path:
        return self._folder / study / f"round-{number:06d}"


def _read(place: Path) -> Spooled:
    """A round as it was kept; one that does not say whom it drew drew nobody."""
    ready, said = Ready.model_validate_json((place / _READY).read_bytes()), place / _DRAWN
    drawn = Drawn.model_validate_json(said.read_bytes()) if said.exists() else Drawn()
    return Spooled(ready, drawn, place / UPDATE_FILE if update_exists(place) else None)


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
