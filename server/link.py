"""The ServerApp's line to the sites, object by object.

Decides how messages and payloads go through Flower's Grid without a whole model in memory:

1. A payload file becomes objects once; every further site that gets the same file gets the same
   objects, and Flower stores them once.
2. `poll` hands a reply out as soon as its envelope is there; the payload may still be arriving. Nothing
   waits here for one site: a missing object is an empty step of `fetch`, and the caller's lease decides.
3. A reply is whole when its root object is there, which the sites push last. Then it is confirmed and
   Flower frees it.
4. No answer of the SuperLink larger than one object is read, but for the list of replies. A site whose object
   is larger is at fault, not the line.
5. A site may answer, and so put its question away, before all of its payload was pushed: no fault either.

It uses ``grid._runtime_client``, its HTTP client and ``grid.node``, which are private in flwr 1.39: the
Grid's own ``pull_messages`` holds all replies in memory at once. Who may speak for which site is decided
by the envelopes' signatures, not here.
"""

import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import httpx
from flwr.app import MessageType
from flwr.proto.control_pb2 import ListNodesRequest
from flwr.proto.message_pb2 import (
    ConfirmMessageReceivedRequest,
    Metadata,
    ObjectTree,
    PullObjectRequest,
    PushObjectRequest,
)
from flwr.proto.runtime_pb2 import GetNodesRequest, PullAppMessagesRequest, PushAppMessagesRequest
from flwr.supercore.control.control_http_client import ControlHttpClient
from flwr.supercore.run import RunNotRunningException
from flwr.supercore.runtime.runtime_http_client import RuntimeHttpClient
from flwr.supercore.task_identity import TaskIdentity

from server.arrival import LOST, MALFORMED, Arrival, Lost, Unreachable
from server.engine.transport import TooLong, loopback_client
from server.pulse import Pulse, pulses_of
from shared.errors import LinkError, TrustError
from shared.flower_objects import (
    OBJECT_LIMIT_BYTES,
    MessagePlan,
    PayloadPlan,
    plan_message,
    plan_payload,
    read_chunk,
    read_contents,
)

T = TypeVar("T")

_TIME_TO_LIVE_S = 7 * 86400.0
_NEWS_LIMIT_BYTES = 64 * 2**20  # heads and object trees of all replies that came since the last call
_GIVE_UP_S = 15.0  # a SuperLink on the same computer that is silent for so long is gone
_AHEAD = 2  # objects under way besides the one that is used


class _NotYet(Exception):
    """An object that is announced but has not arrived."""


class ServerLink:
    """Messages to sites and their replies; for one thread.

    Args:
        grid: Flower's Grid of this run.
        nodes: site name -> Flower node id; read at each call, so it may change.
        clock: Unix time in seconds, for the time stamps that Flower asks for.
    """

    def __init__(self, grid: Any, nodes: Mapping[str, int], *, clock: Callable[[], float] = time.time) -> None:
        self._client, self._node, self._run_id = grid._runtime_client, grid.node, grid.run.run_id
        self._nodes, self._clock = nodes, clock
        self._waiting: dict[str, str] = {}  # message id -> site; no reply seen
        self._opening: dict[str, tuple[str, ObjectTree]] = {}  # message id -> site, reply seen but not its envelope
        self._payload: tuple[Any, PayloadPlan] | None = None
        self._threads = ThreadPoolExecutor(_AHEAD + 1, thread_name_prefix="objects")
        grid._retry_invoker.max_time = _GIVE_UP_S
        context = ssl.create_default_context(cadata=grid._cert.decode("ascii"))
        self._client._client = loopback_client(context, limit=_limit)  # the engine's own may be in use, and is let go

    # ------------------------------------------------------------------ sending

    def push(self, site: str, envelope: bytes, payload: Path | None = None) -> str:
        """Send one message to one site.

        Args:
            site: a name in `nodes`.
            envelope: the signed envelope, at most 4 MiB.
            payload: a file that travels beside it; it must not change before this returns.

        Returns:
            The message's id.

        Raises:
            Unreachable: the site may not connect, or has not been on line since the SuperLink was started.
            LinkError: the SuperLink is gone.
        """
        node = self._nodes.get(site)
        if node is None:
            raise Unreachable(f"Site {site} may not connect.", remedy="See the roster: it was removed, or has expired.")
        plan = plan_message(self._addressing(node), envelope, self._planned(payload))
        request = PushAppMessagesRequest(messages_list=[plan.head], message_object_trees=[plan.tree])
        answer = self._call("PushMessages", request)
        if not answer.message_ids[0]:
            raise Unreachable(
                f"Site {site} is not known to the server or has not been here since its start.",
                remedy="Start the site's agent; ask it when it is on line.",
            )
        self._push_objects(plan, answer.session_id, set(answer.objects_to_push))
        self._waiting[plan.id] = site
        return plan.id

    def withdraw(self, message_id: str) -> None:
        """Wait for this message's reply no longer, and free what Flower keeps of both."""
        self._waiting.pop(message_id, None)
        _, reply = self._opening.pop(message_id, (None, None))
        if reply is not None:
            self._confirm(reply.object_id)
        self._confirm(message_id)

    def online(self) -> set[str]:
        """Sites whose heartbeat is not overdue."""
        alive = {node.node_id for node in self._call("GetNodes", GetNodesRequest()).nodes}
        return {site for site, node in self._nodes.items() if node in alive}

    def pulses(self) -> dict[str, Pulse]:
        """By site, its last heartbeat; a site that has never connected is not in it.

        The SuperLink tells this to anybody on its computer, at the address where it speaks to its runs.
        """
        nodes = self._call("ListNodes", ListNodesRequest(), of=ControlHttpClient).nodes_info
        return pulses_of(nodes, {node: site for site, node in self._nodes.items()}, now=self._clock())

    def close(self) -> None:
        """End the threads; calls under way finish first."""
        self._threads.shutdown()

    def _addressing(self, node_id: int) -> Metadata:
        return Metadata(
            run_id=self._run_id,
            src_node_id=self._node.node_id,
            dst_node_id=node_id,
            created_at=self._clock(),
            ttl=_TIME_TO_LIVE_S,
            message_type=MessageType.TRAIN,
            src_task_id=TaskIdentity.task_id,
        )

    def _planned(self, path: Path | None) -> PayloadPlan | None:
        if path is None:
            return None
        status = path.stat()
        file = (path, status.st_ino, status.st_size, status.st_mtime_ns)
        if self._payload is None or self._payload[0] != file:
            self._payload = (file, plan_payload(path))
        return self._payload[1]

    def _push_objects(self, plan: MessagePlan, session: str, wanted: set[str]) -> None:
        def pushing(name: str, content: bytes) -> Callable[[], bool]:
            request = PushObjectRequest(
                node=self._node, run_id=self._run_id, object_id=name, object_content=content, session_id=session
            )
            return lambda: bool(self._call("PushObject", request).stored)

        objects = chain(plan.objects(), [(plan.id, lambda: plan.root)])
        for stored in self._ahead(pushing(name, content()) for name, content in objects if name in wanted):
            if not stored:  # the question is answered or withdrawn meanwhile; `poll` says which
                break

    # ------------------------------------------------------------------ receiving

    def poll(self) -> list[Arrival]:
        """What has come since the last call: each reply once, and Flower's word on dead nodes.

        Raises:
            LinkError: the SuperLink is gone.
        """
        arrivals = list(self._news(list(self._waiting))) if self._waiting else []
        for message_id, (site, reply) in list(self._opening.items()):
            arrival = self._open(site, message_id, reply)
            if arrival is not None:
                del self._opening[message_id]
                arrivals.append(arrival)
        return arrivals

    def fetch(self, arrival: Arrival, *, limit: int) -> Iterator[bytes]:
        """The payload of a reply, an object at a time, and its confirmation at the end.

        Args:
            arrival: from `poll`, with a payload.
            limit: the most bytes to take.

        Yields:
            Pieces in their order; ``b""`` when the next has not arrived yet: do something else, and
            give up (`drop`) when that has lasted too long.

        Raises:
            TrustError: more bytes than `limit`, or not as many as declared.
            Lost: the rest will not come.
            LinkError: the SuperLink is gone.
        """
        left = arrival.payload_bytes
        if left > limit:
            raise _not_as_declared(arrival)
        for name, content in zip(arrival._chunks, self._ahead(self._get(arrival._chunks)), strict=True):
            while content is None:
                yield b""
                content = self._object(name)  # noqa: PLW2901
            piece = bytes(read_chunk(content))
            left -= len(piece)
            if left < 0:
                raise _not_as_declared(arrival)
            yield piece
        if left:
            raise _not_as_declared(arrival)
        while self._object(arrival._reply) is None:
            yield b""
        self._confirm(arrival._reply)

    def drop(self, arrival: Arrival) -> None:
        """Free a reply whose payload is not wanted, or not wanted to its end."""
        if arrival._reply:
            self._confirm(arrival._reply)

    def _news(self, ids: list[str]) -> Iterator[Arrival]:
        try:
            answer = self._call("PullMessages", PullAppMessagesRequest(message_ids=ids))
        except TrustError:
            yield from self._look_for_the_giant(ids)
            return
        for message, reply in zip(answer.messages_list, answer.message_object_trees, strict=True):
            message_id = message.metadata.reply_to_message_id
            site = self._waiting.pop(message_id, None)
            if site is None:
                continue
            if message.HasField("error"):
                self._confirm(reply.object_id)
                self._confirm(message_id)
                yield Arrival(site, message_id, error=message.error.code)
            else:
                self._opening[message_id] = (site, reply)

    def _look_for_the_giant(self, ids: list[str]) -> Iterator[Arrival]:
        """One reply's head or tree fills the list of all; what Flower gave out with it is asked for again."""
        if len(ids) > 1:
            for message_id in ids:
                yield from self._news([message_id])
        else:
            self._confirm(ids[0])
            yield Arrival(self._waiting.pop(ids[0]), ids[0], error=MALFORMED)

    def _open(self, site: str, message_id: str, reply: ObjectTree) -> Arrival | None:
        try:
            contents = read_contents(reply, self._here)
            if not contents.chunks:
                self._here(reply.object_id)
                self._confirm(reply.object_id)
        except _NotYet:
            return None
        except (Lost, TrustError) as error:
            self._confirm(reply.object_id)
            return Arrival(site, message_id, error=LOST if isinstance(error, Lost) else MALFORMED)
        return Arrival(
            site, message_id, contents.envelope, contents.payload_bytes, _reply=reply.object_id, _chunks=contents.chunks
        )

    def _here(self, name: str) -> bytes:
        content = self._object(name)
        if content is None:
            raise _NotYet
        return content

    def _object(self, name: str) -> bytes | None:
        answer = self._call("PullObject", PullObjectRequest(node=self._node, run_id=self._run_id, object_id=name))
        if not answer.object_found:
            raise Lost("A site's upload was given up.", remedy="Nothing; the site is asked again.")
        return bytes(answer.object_content) if answer.object_available else None

    def _get(self, names: Iterable[str]) -> Iterator[Callable[[], bytes | None]]:
        return (partial(self._object, name) for name in names)

    # ------------------------------------------------------------------ calls

    def _ahead(self, calls: Iterable[Callable[[], T]]) -> Iterator[T]:
        """The results in the order of the calls, while the next calls are under way."""
        under_way: deque[Future[T]] = deque()
        for call in calls:
            under_way.append(self._threads.submit(call))
            if len(under_way) > _AHEAD:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()

    def _confirm(self, name: str) -> None:
        request = ConfirmMessageReceivedRequest(node=self._node, run_id=self._run_id, message_object_id=name)
        self._call("ConfirmMessageReceived", request)

    def _call(self, name: str, request: Any, *, of: Any = RuntimeHttpClient) -> Any:
        try:
            return getattr(of, name)(self._client, request)
        except TooLong:
            raise TrustError("A site's object is larger than any of ours.", remedy="Ask that site's IT.") from None
        except (httpx.HTTPError, RunNotRunningException):
            raise LinkError(
                "The SuperLink does not answer the study's process.", remedy="`federation serve` resumes the study."
            ) from None


def _limit(path: str) -> int:
    return _NEWS_LIMIT_BYTES if path.endswith("/pull-messages") else OBJECT_LIMIT_BYTES


def _not_as_declared(arrival: Arrival) -> TrustError:
    return TrustError(
        f"The payload of site {arrival.site} is not as long as declared and allowed.",
        remedy="Compare the two sides' versions.",
    )
