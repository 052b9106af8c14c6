"""Calls about one message: made again while the line is down, their objects waited for no longer than a few seconds.

A message belongs to the node id under which it came; a server that has forgotten that id has lost the
message, too. What a message or an object means is left to `client/link.py`.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, PullObjectRequest
from flwr.proto.node_pb2 import Node

from client.line.aside import Delayed
from client.line.fleet import OBJECT_TIMEOUT_S, Call, Fleet, Forgotten, MessageGone
from client.line.membership import Membership
from client.line.parcels import Note
from shared.errors import LinkError
from shared.flower_objects import IN_FLIGHT

_RETRIES = 12
_RETRY_S = (0.5, 5.0)
_ARRIVAL_TURN_S = (0.05, 0.15)
_ARRIVAL_TURNS = 20  # 2 s


class MessageCalls:
    """One site's calls about the messages that it took.

    Args:
        fleet: makes them.
        membership: says when to wait, and when this site is leaving.
    """

    def __init__(self, fleet: Fleet, membership: Membership) -> None:
        self._fleet, self._membership = fleet, membership

    def objects(self, note: Note, names: Iterable[str]) -> Iterator[bytes]:
        """A message's objects in the order of their names.

        Raises:
            MessageGone: the server no longer holds the message.
            Delayed: an object is announced and does not come.
            LinkError: the line stayed down.
        """
        for request, answer in self.in_turn("PullObject", (_pull(note, name) for name in names)):
            yield self._available(request, answer)

    def is_settled(self, note: Note) -> bool:
        """Whether all of a message has come, which its root object says, or the server has given it up."""
        try:
            answer = self.settled("PullObject", _pull(note, note.id))
        except MessageGone:
            return True
        return bool(answer.object_available or not answer.object_found)

    def confirm(self, note: Note) -> None:
        """Let the server free what it keeps of a message; raises `MessageGone` and `LinkError` as `objects`."""
        node, run = Node(node_id=note.metadata.dst_node_id), note.metadata.run_id
        self.settled(
            "ConfirmMessageReceived", ConfirmMessageReceivedRequest(node=node, run_id=run, message_object_id=note.id)
        )

    def in_turn(self, name: str, requests: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Each request with its answer, in their order, while the next calls are under way."""
        ahead: deque[tuple[Any, Call]] = deque()
        for request in requests:
            ahead.append((request, self._fleet.begin(name, request)))
            if len(ahead) == IN_FLIGHT:
                yield ahead[0][0], self.settled(name, *ahead.popleft())
        while ahead:
            yield ahead[0][0], self.settled(name, *ahead.popleft())

    def settled(self, name: str, request: Any, call: Call | None = None) -> Any:
        """The answer to a call, which is made again while the line is down, for about half a minute."""
        for left in reversed(range(_RETRIES)):
            try:
                if call is not None:
                    return self._fleet.finish(call)
                return self._fleet.call(name, request, timeout_s=OBJECT_TIMEOUT_S)
            except MessageGone:
                raise
            except Forgotten:
                raise MessageGone("The server was restarted.", remedy="Nothing; wait for the next message.") from None
            except LinkError:
                if not left or self._membership.pause(_RETRY_S):
                    raise
                call = None
        raise AssertionError

    def _available(self, request: Any, answer: Any) -> bytes:
        for _ in range(_ARRIVAL_TURNS):
            if answer.object_available:
                return bytes(answer.object_content)
            if not answer.object_found:
                raise MessageGone("The server no longer holds this message.", remedy="Nothing; wait for the next one.")
            if self._membership.pause(_ARRIVAL_TURN_S):
                break
            answer = self.settled("PullObject", request)
        raise Delayed


def _pull(note: Note, name: str) -> PullObjectRequest:
    node = Node(node_id=note.metadata.dst_node_id)
    return PullObjectRequest(node=node, run_id=note.metadata.run_id, object_id=name)
