"""The stock SuperLink with a stricter door: who is not on the roster is refused before a byte of his message is read.

    python -P -m server.engine.fleet_guard flower-superlink ARGUMENT ...

Flower 1.39 reads a caller's whole message, up to 2 GB, before it tells him that he is not let in, lets a
message that never ends hold one of a thousand places, and of two things it takes a caller's word. Here

1. whom Flower refuses for his signature, or whose key it does not know, is refused at once, unread;
2. no message is longer than an object of ours; handshakes, and lines on which nobody calls, have an end;
3. a key is activated by its holder alone;
4. objects are handed out, and messages confirmed, only to the site that got the message, or is sending it,
   and nobody answers in another's name;
5. the inner APIs answer this account alone (`server/engine/callers.py`).

Everything else is Flower's. Source: ``flwr/superlink/cli/flower_superlink.py``, ``flwr/supercore/grpc.py``.
"""

import resource
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import grpc
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree, PullObjectRequest
from flwr.superlink.cli import flower_superlink

from server.engine import callers
from shared.flower_objects import OBJECT_LIMIT_BYTES

HANDSHAKE_S = 20
IDLE_S = 120  # a line without a call; an agent calls every 20 s at least
THREADS = 1000  # as Flower's
STREAMS = 100  # calls at a time on one line
LINES = 20_000  # open files, where the system allows so many
REMEMBERED = 64  # messages of one site, either way; an agent holds 17 at most
LOGGED = 60  # strangers a minute
LONGEST_KEY = 1024  # bytes
_KEY = "flwr-public-key-bin"
_ABOUT_A_MESSAGE = (PullObjectRequest, ConfirmMessageReceivedRequest, PushMessagesRequest)
_ACTIVATE = "/flwr.proto.Fleet/ActivateNode"
_LOG_LINE = (
    "[/flwr.proto.Fleet/ActivateNode][ApiError:2004] Attempted to register SuperNode with public key: {key!r},"
    " exception: No SuperNode found with the given public key."
)
_NOT_ACTIVATED = '{"code": 2004, "public_message": "Failed to activate SuperNode.", "public_details": null}'


class Handed:
    """Which objects each site may ask for: those of messages that it was handed or has announced; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sites: dict[bytes, OrderedDict[str, frozenset[str]]] = {}

    def note(self, key: bytes, trees: Sequence[ObjectTree]) -> None:
        """A site was handed messages, or has announced them; the oldest of too many are forgotten."""
        with self._lock:
            mine = self._sites.setdefault(key, OrderedDict())
            for tree in trees:
                mine.pop(tree.object_id, None)
                mine[tree.object_id] = frozenset(_names(tree))
            while len(mine) > REMEMBERED:
                mine.popitem(last=False)

    def holds(self, key: bytes, name: str) -> bool:
        """Whether an object is of one of the site's messages."""
        with self._lock:
            return any(name in names for names in self._sites.get(key, {}).values())

    def is_message(self, key: bytes, name: str) -> bool:
        """Whether a message is one of the site's."""
        with self._lock:
            return name in self._sites.get(key, {})


class Guard(grpc.ServerInterceptor):  # type: ignore[misc]
    """Stands before Flower's own checks.

    Args:
        node_of: a registered transport key's node id, or None.
        handed: what each site was handed.
    """

    def __init__(self, node_of: Callable[[bytes], int | None], handed: Handed) -> None:
        self._node_of, self._handed = node_of, handed
        self._logged = (0, 0)

    def intercept_service(self, continuation: Callable[[Any], Any], details: grpc.HandlerCallDetails) -> Any:
        """Rules 1, 3 and 4 of the module."""
        key = next((value for name, value in details.invocation_metadata if name == _KEY), b"")
        try:
            handler = continuation(details)
        except Exception:  # a key, a signature or a time that nobody can read
            return _unread(_refusing(grpc.StatusCode.UNAUTHENTICATED, "Invalid signature"))
        if handler is None:
            return None
        if handler.request_deserializer is None:  # Flower has refused
            return _unread(lambda _, context: handler.unary_unary(None, context))
        if self._node_of(key) is None:
            return _unread(self._unknown(details.method, key))
        return grpc.unary_unary_rpc_method_handler(
            self._checked(key, handler.unary_unary), handler.request_deserializer, handler.response_serializer
        )

    def _checked(self, key: bytes, behavior: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if self._is_of_before(key, request):
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "Invalid node ID")
            if not self._own(key, request):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, "This belongs to another site.")
            response = behavior(request, context)
            if isinstance(request, PullMessagesRequest):
                self._handed.note(key, response.message_object_trees)
            return response

        return answer

    def _unknown(self, method: str, key: bytes) -> Callable[[Any, Any], Any]:
        """What a restarted SuperLink tells its sites until it knows their keys, and strangers for good."""
        if method != _ACTIVATE:
            return _refusing(grpc.StatusCode.UNAUTHENTICATED, "Invalid node ID")
        minute, lines = int(time.monotonic() // 60), 0
        if self._logged[0] == minute:
            lines = self._logged[1]
        self._logged = (minute, lines + 1)
        if lines < LOGGED:  # in Flower's words, which `server/engine/refusals.py` knows
            print(_LOG_LINE.format(key=key[:LONGEST_KEY]), file=sys.stderr, flush=True)
        return _refusing(grpc.StatusCode.FAILED_PRECONDITION, _NOT_ACTIVATED)

    def _is_of_before(self, key: bytes, request: Any) -> bool:
        """Whether a message is named under another number than the site's: that of a SuperLink that has ended.

        A site that holds a message of then learns that it is gone, in Flower's words, and does not ask again.
        """
        return isinstance(request, _ABOUT_A_MESSAGE) and request.node.node_id != self._node_of(key)

    def _own(self, key: bytes, request: Any) -> bool:
        if isinstance(request, ActivateNodeRequest):
            return bool(request.public_key == key)
        if isinstance(request, PullObjectRequest):
            return self._handed.holds(key, request.object_id)
        if isinstance(request, ConfirmMessageReceivedRequest):
            return self._handed.is_message(key, request.message_object_id)
        if isinstance(request, PushMessagesRequest):
            said = request.messages_list
            own = len(said) == 1 and self._handed.is_message(key, said[0].metadata.reply_to_message_id)
            if not own or said[0].metadata.src_node_id != self._node_of(key):
                return False
            self._handed.note(key, request.message_object_trees)
        return True


def guarded(*, servicer_and_add_fn: Any, server_address: str, certificates: Any, interceptors: Any, **_: Any) -> Any:
    """Flower's Fleet server under the module's rules; takes the place of `generic_create_grpc_server` there."""
    servicer, add = servicer_and_add_fn
    state = servicer.state_factory.state
    guard = Guard(lambda key: state().get_node_id_by_public_key(key), Handed())
    server = grpc.server(
        ThreadPoolExecutor(max_workers=THREADS),
        options=[
            ("grpc.max_receive_message_length", OBJECT_LIMIT_BYTES),
            ("grpc.max_concurrent_streams", STREAMS),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_S * 1000),
            ("grpc.max_connection_idle_ms", IDLE_S * 1000),
            ("grpc.keepalive_time_ms", 210_000),
            ("grpc.http2.max_pings_without_data", 0),
        ],
        interceptors=[guard, *interceptors],
    )
    add(servicer, server)
    root, certificate, key = certificates
    credentials = grpc.ssl_server_credentials(((key, certificate),), root_certificates=root)
    port = server.add_secure_port(server_address, credentials)
    server.bound_address = f"{server_address.rpartition(':')[0]}:{port}"
    return server


def main() -> None:
    """Run `flower-superlink` with the guard at its Fleet API, and one at its inner APIs."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = LINES if hard == resource.RLIM_INFINITY else min(LINES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    flower: Any = sys.modules[flower_superlink.__module__]
    flower.generic_create_grpc_server = guarded
    if callers.are_known():
        flower.uvicorn = SimpleNamespace(run=callers.run)
    sys.argv = sys.argv[1:]
    flower_superlink()


def _refusing(code: grpc.StatusCode, why: str) -> Callable[[Any, Any], Any]:
    return lambda _, context: context.abort(code, why)


def _unread(behavior: Callable[[Any, Any], Any]) -> Any:
    """A handler that answers without waiting for what the caller sends (a stream of which it takes nothing)."""
    return grpc.stream_unary_rpc_method_handler(behavior)


def _names(tree: ObjectTree) -> Iterator[str]:
    yield tree.object_id
    for child in tree.children:
        yield from _names(child)


if __name__ == "__main__":
    main()
