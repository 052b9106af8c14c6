"""Whoever is not on the roster is refused unread, and nobody gets or gives what is another site's."""

import time
from collections.abc import Iterator
from typing import Any

import grpc
import psutil
import pytest
from flower_lab import Lab, new_key, public_pem
from flwr.proto.fleet_pb2 import ActivateNodeRequest, PullMessagesRequest, PushMessagesRequest
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, Message, ObjectTree, PullObjectRequest
from flwr.proto.node_pb2 import Node

from deploy.bench import http2
from deploy.bench.intruder_calls import credentials
from server.engine.fleet_guard import REMEMBERED, Guard, Handed
from shared.flower_objects import OBJECT_LIMIT_BYTES


@pytest.fixture(scope="module")
def stub(lab: Lab) -> Iterator[FleetStub]:
    trust = grpc.ssl_channel_credentials(lab.ca_pem)
    with grpc.secure_channel(f"127.0.0.1:{lab.port}", trust, options=[("grpc.max_send_message_length", -1)]) as line:
        yield FleetStub(line)


def activation(key: Any, *, padding: int = 0) -> ActivateNodeRequest:
    return ActivateNodeRequest(public_key=public_pem(key) + bytes(padding), heartbeat_interval=30.0)


def refused(call: Any, request: Any, key: Any = None) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call(request, timeout=30.0, metadata=credentials(key) if key else None)
    return error.value.code(), error.value.details() or ""


def test_a_stranger_s_message_is_not_read(lab: Lab, stub: FleetStub) -> None:
    before = psutil.Process(lab.superlink.pid).memory_info().rss
    code, words = refused(stub.ActivateNode, activation(new_key(), padding=100_000_000), new_key())
    assert (code, "2004" in words) == (grpc.StatusCode.FAILED_PRECONDITION, True)
    assert refused(stub.ActivateNode, activation(new_key(), padding=100_000_000))[0] is grpc.StatusCode.UNAUTHENTICATED
    assert psutil.Process(lab.superlink.pid).memory_info().rss - before < 50_000_000


def test_a_call_that_never_ends_is_refused_at_once(lab: Lab) -> None:
    """Flower would wait for the rest; a thousand such calls would keep everybody out."""
    import socket

    with socket.create_connection(("127.0.0.1", lab.port), timeout=30.0) as raw:
        line = http2.context(lab.ca_pem).wrap_socket(raw, server_hostname="127.0.0.1")
        line.sendall(http2.opening() + http2.call(1))
        heard, deadline = b"", time.monotonic() + 30.0
        while b"Missing authentication" not in heard and time.monotonic() < deadline:
            heard += line.recv(4096)
        assert b"Missing authentication" in heard
        line.close()


def test_a_site_s_message_has_a_bound(lab: Lab, stub: FleetStub) -> None:
    key = lab.key("long")
    code, _ = refused(stub.ActivateNode, activation(key, padding=OBJECT_LIMIT_BYTES), key)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("known", [True, False])
def test_a_key_is_activated_by_its_holder_alone(lab: Lab, stub: FleetStub, known: bool) -> None:
    owner, other = lab.key(f"owner {known}"), lab.key("other") if known else new_key()
    code, words = refused(stub.ActivateNode, activation(owner), other)
    if known:
        assert (code, words) == (grpc.StatusCode.PERMISSION_DENIED, "This belongs to another site.")
    else:
        assert code is grpc.StatusCode.FAILED_PRECONDITION
    assert stub.ActivateNode(activation(owner), timeout=30.0, metadata=credentials(owner)).node_id


def test_credentials_that_nobody_can_read_are_refused(stub: FleetStub) -> None:
    rubbish = [("flwr-public-key-bin", b"x"), ("flwr-timestamp", "x"), ("flwr-signature-bin", b"x")]
    with pytest.raises(grpc.RpcError) as error:
        stub.PullMessages(PullMessagesRequest(), timeout=30.0, metadata=rubbish)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


# ------------------------------------------------------------------ whose is it

A, B = b"key of a", b"key of b"
NODES = {A: 1, B: 2}
TREE = ObjectTree(object_id="message", children=[ObjectTree(object_id="chunk")])


def asked(request: Any, key: bytes, handed: Handed) -> bool:
    return Guard(NODES.get, handed)._own(key, request)


@pytest.mark.parametrize("kind", [PullObjectRequest, ConfirmMessageReceivedRequest, PushMessagesRequest])
def test_a_message_of_a_superlink_that_has_ended_is_told_from_another_site_s(kind: Any) -> None:
    guard = Guard(NODES.get, Handed())
    assert guard._is_of_before(A, kind(node=Node(node_id=7)))
    assert not guard._is_of_before(A, kind(node=Node(node_id=NODES[A])))


def reply(to: str, *, node: int) -> PushMessagesRequest:
    made = Message()
    made.metadata.reply_to_message_id, made.metadata.src_node_id = to, node
    tree = ObjectTree(object_id="answer")
    return PushMessagesRequest(node=Node(node_id=node), messages_list=[made], message_object_trees=[tree])


@pytest.mark.parametrize("name", ["message", "chunk"])
def test_an_object_goes_to_whom_its_message_went(name: str) -> None:
    handed = Handed()
    handed.note(A, [TREE])
    assert asked(PullObjectRequest(object_id=name), A, handed)
    assert not asked(PullObjectRequest(object_id=name), B, handed)
    assert not asked(PullObjectRequest(object_id="another"), A, handed)


def test_a_message_is_confirmed_and_answered_by_whom_it_went_to() -> None:
    handed = Handed()
    handed.note(A, [TREE])
    assert asked(ConfirmMessageReceivedRequest(message_object_id="message"), A, handed)
    assert not asked(ConfirmMessageReceivedRequest(message_object_id="message"), B, handed)
    assert not asked(ConfirmMessageReceivedRequest(message_object_id="chunk"), A, handed)
    assert not asked(reply("message", node=2), B, handed)
    assert not asked(reply("message", node=2), A, handed)
    assert not asked(PushMessagesRequest(), A, handed)
    assert not asked(PullObjectRequest(object_id="answer"), A, handed)
    assert asked(reply("message", node=1), A, handed)
    assert asked(PullObjectRequest(object_id="answer"), A, handed)  # it asks whether its own answer has arrived


def test_the_oldest_messages_are_forgotten() -> None:
    handed = Handed()
    for number in range(REMEMBERED + 1):
        handed.note(A, [ObjectTree(object_id=str(number))])
    assert not handed.holds(A, "0")
    assert handed.holds(A, "1")
    assert handed.is_message(A, str(REMEMBERED))
