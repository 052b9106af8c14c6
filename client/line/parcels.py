"""The site's notes about messages that it took and has not answered, and the answer's payload.

Flower hands a message out once. Its metadata and object tree (about 600 bytes) are therefore written
down before anything else is done with it, and go when its answer has arrived. Beside it stands how
far the upload of the answer came: Flower takes a half-finished upload only under the session in which
it began, because the server forgets the question as soon as it has seen the answer's head.

A payload leaves only as the bytes that were checked: its digest is compared before the first object is
announced, and each object with its name as it goes.

Nothing here is secret and nothing is trusted after a restart: whatever does not parse is dropped.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from flwr.proto.fleet_pb2 import PullMessagesResponse
from flwr.proto.message_pb2 import Metadata, ObjectTree
from google.protobuf.message import DecodeError

from shared.durable import write_atomically
from shared.errors import TrustError
from shared.flower_objects import PayloadPlan, object_id, plan_payload


@dataclass(frozen=True)
class Note:
    """One message taken from the server: Flower's addressing and its object tree."""

    metadata: Metadata
    tree: ObjectTree

    @property
    def id(self) -> str:
        """Flower's message id, 64 hex digits."""
        return str(self.metadata.message_id)


@dataclass(frozen=True)
class Parcel:
    """One message from the server.

    Attributes:
        id: Flower's message id, 64 hex digits.
        envelope: the signed envelope, at most 4 MiB, not verified yet.
        payload_bytes: the declared length of the payload; 0 without one.
    """

    id: str
    envelope: bytes = field(repr=False)
    payload_bytes: int
    _chunks: tuple[str, ...] = field(repr=False)
    _note: Note = field(repr=False)


class Released(Protocol):
    """What egress lets out: a signed envelope and, maybe, a payload file."""

    @property
    def envelope(self) -> bytes:
        """The signed envelope."""

    @property
    def payload(self) -> Path | None:
        """The file that travels beside it."""

    @property
    def payload_sha256(self) -> str | None:
        """SHA-256 (hex) of the file that was checked."""


@dataclass(frozen=True)
class Upload:
    """An upload under way: its root object, Flower's session, and the objects that arrived."""

    root: str
    session: str
    done: frozenset[str]


class Parcels:
    """The notes in one folder.

    Args:
        folder: made if missing; only this object writes there.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder

    def keep(self, note: Note) -> None:
        """Write a message down; durable when this returns."""
        data = PullMessagesResponse(message_object_trees=[note.tree])
        data.messages_list.add(metadata=note.metadata)
        write_atomically(self._note(note.id), data.SerializeToString(), mode=0o600)

    def open(self) -> list[Note]:
        """Every message without an answer, oldest first."""
        return sorted(self._read(), key=lambda note: (note.metadata.created_at, note.id))

    def forget(self, parcel: str) -> None:
        """The message is answered, or nobody waits for an answer."""
        for path in (self._note(parcel), self._upload(parcel)):
            path.unlink(missing_ok=True)

    def begin_upload(self, parcel: str, *, root: str, session: str) -> None:
        """Note a fresh upload; what an earlier one had reached is void."""
        self._upload(parcel).write_text(json.dumps([root, session]) + "\n")

    def note_object(self, parcel: str, name: str) -> None:
        """One object of the upload arrived."""
        with self._upload(parcel).open("a") as file:
            file.write(name + "\n")

    def upload(self, parcel: str) -> Upload | None:
        """How far the upload of this parcel's answer came, or None if none began."""
        try:
            first, *rest = self._upload(parcel).read_text().split("\n")
            root, session = json.loads(first)
        except (OSError, ValueError):
            return None
        return Upload(str(root), str(session), frozenset(rest))

    def _read(self) -> Iterator[Note]:
        for path in self._folder.glob("*.note"):
            try:
                data = PullMessagesResponse.FromString(path.read_bytes())
                yield Note(data.messages_list[0].metadata, data.message_object_trees[0])
            except (DecodeError, IndexError):
                with contextlib.suppress(OSError):
                    os.unlink(path)

    def _note(self, parcel: str) -> Path:
        return self._folder / f"{parcel[:64]}.note"

    def _upload(self, parcel: str) -> Path:
        return self._folder / f"{parcel[:64]}.upload"


def planned(released: Released) -> PayloadPlan | None:
    """The objects of a release's payload, if it has one.

    Raises:
        TrustError: the file is not the one that was checked.
        FileNotFoundError: it was put away.
    """
    if released.payload is None:
        return None
    plan = plan_payload(released.payload, whole=True)
    if plan.sha256 != released.payload_sha256:
        raise _altered()
    return plan


def unaltered(name: str, content: bytes) -> bytes:
    """A planned object, held against its name as it leaves.

    Raises:
        TrustError: the file changed since it was planned.
    """
    if object_id(content) != name:
        raise _altered()
    return content


def _altered() -> TrustError:
    return TrustError("An update changed after it was released.", remedy="Find out what writes to the site's spool.")
