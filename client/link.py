"""The site's line to the server: take a message, fetch its payload, send the answer.

Decides how messages survive a crash and a broken line:

1. A message is noted on disk before it is read, and confirmed only after its answer has arrived whole.
2. An answer is a function of the message and the released bytes. Sent twice, it is one answer, and the
   second upload goes on where the first stopped.
3. The root object of an answer is pushed after all others have arrived.
4. Sizes are compared with what was declared and allowed before bytes are written.
5. No message waits for another one's objects; `client/line/aside.py` says what becomes of the delayed.

It trusts nothing that it carries: envelopes and digests are checked by the caller, and only
`client/egress.py` can make what `send` takes.
"""

import contextlib
import hashlib
import os
import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node

from client.line.aside import Aside, Delayed
from client.line.fleet import Fleet, Forgotten, MessageGone, Traffic
from client.line.membership import Membership
from client.line.message_calls import MessageCalls
from client.line.parcels import Note, Parcel, Parcels, Released, planned, unaltered
from client.line.way import Way
from shared.errors import LinkError, TrustError
from shared.flower_objects import MessagePlan, plan_message, read_chunk, read_contents, reply_metadata

_PASSED_OVER = 64  # withdrawn messages in one pull: rounds may pass more quickly than a site at work asks

__all__ = ["Delayed", "Link", "LinkError", "MessageGone", "Parcel", "Released", "Traffic"]


class Link:
    """A site's membership of one SuperLink and the messages that come over it; thread-safe.

    Args:
        host: the server's name or address, as its certificate says it.
        port: the Fleet API's port.
        ca_pem: the federation's CA certificate.
        key: the site's transport key, P-384.
        folder: for the node id, the clock offset and the notes; one process at a time.
        clock: Unix time in seconds of this computer.
        certificate_pem: a client certificate for `key`, for a front proxy with mutual TLS.
        way: by which proxy the server is reached, and who may open the line there.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        ca_pem: bytes,
        key: ec.EllipticCurvePrivateKey,
        folder: Path,
        clock: Callable[[], float] = time.time,
        certificate_pem: bytes | None = None,
        way: Way = Way(),  # noqa: B008 - frozen
    ) -> None:
        self._fleet = Fleet(
            host=host, port=port, ca_pem=ca_pem, key=key, clock=clock, certificate_pem=certificate_pem, way=way
        )
        self._parcels = Parcels(folder / "parcels")
        self._membership = Membership(self._fleet, folder / "link.json")
        self._calls = MessageCalls(self._fleet, self._membership)
        self._unread: deque[Note] = deque()
        self._aside = Aside()

    @property
    def online(self) -> bool:
        """Whether the server knew this site when it was last asked."""
        return self._membership.online

    @property
    def node_id(self) -> int | None:
        """Flower's number for this site; another one after each restart of the server."""
        return self._membership.node_id

    @property
    def traffic(self) -> Traffic:
        """Bytes and calls since this object was made."""
        return self._fleet.traffic

    @property
    def clock_offset_s(self) -> float:
        """Seconds to add to this computer's clock so that the server takes its stamps; 0 is normal."""
        return self._fleet.clock_offset_s

    def reach(self, *, host: str, port: int, ca_pem: bytes, certificate_pem: bytes | None) -> None:
        """From now on, dial, trust and show what these say; arguments as of the class. Nothing under way is lost."""
        self._fleet.reach(host=host, port=port, ca_pem=ca_pem, certificate_pem=certificate_pem)

    def connect(self) -> None:
        """Become a member now, and stay one: from here on a thread heartbeats and reconnects.

        Raises:
            LinkError: it did not work this time; the thread keeps trying, and `pull` does too.
        """
        try:
            self._membership.join()
        finally:
            self._membership.keep()

    def close(self) -> None:
        """Leave: the server learns at once that this site is away, if it can be reached."""
        self._membership.leave()
        self._fleet.close()

    def give_up(self) -> None:
        """End the calls under way, and try none again: this process must end now."""
        self._membership.give_up()
        self._fleet.close()

    # ------------------------------------------------------------------ receiving

    def pull(self) -> Parcel | None:
        """Take the next message, if there is one; the withdrawn and the delayed are passed over.

        Raises:
            LinkError: the line is down or the server has forgotten this site; call again later.
            OSError: the message could not be noted; it is held here, call again later.
        """
        for _ in range(_PASSED_OVER):
            if not self._unread and (note := self._aside.next(self._calls.is_settled) or self._take()) is not None:
                self._unread.append(note)
            if not self._unread:
                return None
            self._parcels.keep(self._unread[0])
            parcel = self._read(self._unread[0])
            self._unread.popleft()
            if parcel is not None:
                return parcel
        return None

    def unanswered(self) -> list[Parcel]:
        """Messages that an earlier process took and did not answer, oldest first.

        Those that the server no longer holds are forgotten; the delayed come by `pull`.

        Raises:
            LinkError: the line is down; call again later.
        """
        parcels = []
        for note in self._parcels.open():
            if not self._calls.is_settled(note):
                self._put_aside(note)
            elif (parcel := self._read(note)) is not None:
                parcels.append(parcel)
        return parcels

    def fetch(self, parcel: Parcel, into: Path, *, limit: int) -> str:
        """Fetch a parcel's payload into a file, an object at a time.

        Args:
            parcel: from `pull` or `unanswered`.
            into: the file; it exists only if all of it arrived. Its folder must exist. It does not
                wait for the disk: after a power cut it is fetched anew, or made durable by who keeps it.
            limit: the most bytes that may be written.

        Returns:
            SHA-256 (hex) of the payload.

        Raises:
            TrustError: the payload is larger than `limit`, or not as long as it was declared.
            MessageGone: the server no longer holds it.
            Delayed: not all of it has come; `put_aside` takes it back.
            LinkError: the line stayed down; call again later.
        """
        if parcel.payload_bytes > limit:
            raise TrustError(
                f"A payload has {parcel.payload_bytes} bytes; at most {limit} are allowed.",
                remedy="Ask the coordinator whether the study's model is the agreed one.",
            )
        part = into.with_name(f".{into.name}.part")
        try:
            digest = self._write_chunks(parcel, part)
            os.replace(part, into)
        finally:
            part.unlink(missing_ok=True)
        return digest

    def put_aside(self, parcel: Parcel) -> None:
        """Take back a delayed parcel; `pull` hands it out again when all of it has come."""
        self._put_aside(parcel._note)

    def drop(self, parcel: Parcel) -> None:
        """Put a parcel away without an answer; its objects on the server are freed."""
        self._give_up(parcel._note)

    def _put_aside(self, note: Note) -> None:
        if (given_up := self._aside.put(note)) is not None:
            self._give_up(given_up)

    def _give_up(self, note: Note) -> None:
        with contextlib.suppress(MessageGone):
            self._calls.confirm(note)
        self._parcels.forget(note.id)
        self._aside.forget(note)

    def _take(self) -> Note | None:
        if not self._membership.online:
            self._membership.join()
        try:
            node = Node(node_id=self.node_id or 0)
            answer = self._fleet.call("PullMessages", PullMessagesRequest(node=node))
        except Forgotten:
            self._membership.join()
            return None
        if not answer.messages_list or not answer.message_object_trees:
            return None
        note = Note(answer.messages_list[0].metadata, answer.message_object_trees[0])
        return note if re.fullmatch("[0-9a-f]{64}", note.id) else None

    def _read(self, note: Note) -> Parcel | None:
        try:
            contents = read_contents(note.tree, lambda name: next(self._calls.objects(note, [name])))
        except Delayed:
            self._put_aside(note)
            return None
        except (MessageGone, TrustError):
            self._give_up(note)
            return None
        self._aside.forget(note)
        return Parcel(note.id, contents.envelope, contents.payload_bytes, contents.chunks, note)

    def _write_chunks(self, parcel: Parcel, part: Path) -> str:
        digest, left = hashlib.sha256(), parcel.payload_bytes
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for content in self._calls.objects(parcel._note, parcel._chunks):
                chunk = read_chunk(content)
                left -= len(chunk)
                if left < 0:
                    break
                digest.update(chunk)
                file.write(chunk)
        if left:
            raise TrustError("A payload is not as long as declared.", remedy="Ask the coordinator to send it again.")
        return digest.hexdigest()

    # ------------------------------------------------------------------ sending

    def send(self, parcel: Parcel, released: Released) -> bool:
        """Answer a parcel.

        Args:
            parcel: from `pull` or `unanswered`.
            released: from egress. After a failure, send the same bytes again: the upload goes on
                where it stopped. Other bytes are a second answer, which the server refuses.

        Returns:
            True if the server has the whole answer, False if no answer is wanted any more (the run is over,
            the message has expired or was answered otherwise, the payload was put away).
            The parcel is done in both cases.

        Raises:
            LinkError: the line stayed down; call again later.
            TrustError: the payload is not the released one; nothing more was sent.
        """
        try:
            payload = planned(released)
        except FileNotFoundError:  # its round was settled meanwhile
            self.drop(parcel)
            return False
        plan = plan_message(reply_metadata(parcel._note.metadata), released.envelope, payload)
        arrived = False
        with contextlib.suppress(MessageGone):
            arrived = self._push(parcel._note, plan)
            self._calls.confirm(parcel._note)
        self._parcels.forget(parcel.id)
        return arrived

    def _push(self, note: Note, plan: MessagePlan) -> bool:
        node = Node(node_id=note.metadata.dst_node_id)
        request = PushMessagesRequest(node=node, messages_list=[plan.head], message_object_trees=[plan.tree])
        answer = self._calls.settled("PushMessages", request)
        if answer.objects_to_push:
            self._parcels.begin_upload(note.id, root=plan.id, session=answer.session_id)
            return self._push_objects(note, plan, answer.session_id, set(answer.objects_to_push))
        before = self._parcels.upload(note.id)
        if before is None or before.root != plan.id:
            return self._holds(note, plan.id)
        if plan.id in before.done:
            return True
        wanted = {name for name, _ in plan.objects()} - before.done | {plan.id}
        return self._push_objects(note, plan, before.session, wanted)

    def _push_objects(self, note: Note, plan: MessagePlan, session: str, wanted: set[str]) -> bool:
        def request(name: str, content: bytes) -> Any:
            return PushObjectRequest(
                node=Node(node_id=note.metadata.dst_node_id),
                run_id=note.metadata.run_id,
                object_id=name,
                object_content=content,
                session_id=session,
            )

        requests = (request(name, unaltered(name, content())) for name, content in plan.objects() if name in wanted)
        for pushed, _ in self._calls.in_turn("PushObject", requests):
            self._parcels.note_object(note.id, pushed.object_id)
        if self._calls.settled("PushObject", request(plan.id, plan.root)).stored:
            self._parcels.note_object(note.id, plan.id)
            return True
        return self._holds(note, plan.id)

    def _holds(self, note: Note, name: str) -> bool:
        with contextlib.suppress(MessageGone):
            next(self._calls.objects(note, [name]))
            return True
        return False
