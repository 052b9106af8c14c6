"""Calls that nobody has a right to make: with no key, a stranger's, somebody else's; by an insider for another site.

Each tries one thing and returns what the server said; `GotIn` says that it was let in.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.proto.fleet_pb2 import (
    ActivateNodeRequest,
    DeactivateNodeRequest,
    PullMessagesRequest,
    PushMessagesRequest,
    RegisterNodeFleetRequest,
)
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, Message, PullObjectRequest
from flwr.proto.node_pb2 import Node

from client.line.parcels import Note, Parcels
from deploy.bench.intruder_ground import HONEST, GotIn, Ground
from shared.errors import ResourceError
from shared.flower_objects import OBJECT_LIMIT_BYTES
from shared.keys import make_transport_key, transport_pem

CALL_S = 30.0
DAY_S = 86_400
VICTIM = HONEST[0]
Credentials = list[tuple[str, str | bytes]]


def credentials(key: ec.EllipticCurvePrivateKey, *, shown: bytes | None = None, at: float = 0.0) -> Credentials:
    """What Flower asks of a caller.

    Args:
        key: signs.
        shown: the public key (PEM) that is shown; the key's own without one.
        at: seconds from now of the time that is signed.
    """
    stamp = datetime.fromtimestamp(time.time() + at, UTC).isoformat()
    signature = key.sign(stamp.encode(), ec.ECDSA(hashes.SHA256()))
    own = transport_pem(key.public_key()).encode()
    return [("flwr-public-key-bin", shown or own), ("flwr-timestamp", stamp), ("flwr-signature-bin", signature)]


@contextmanager
def line(ground: Ground) -> Iterator[grpc.Channel]:
    """A line to the server, as anybody who has the CA certificate can make one, without a limit of its own."""
    trust = grpc.ssl_channel_credentials(ground.ca_pem)
    options = [("grpc.max_send_message_length", -1), ("grpc.max_metadata_size", 1 << 24)]
    with grpc.secure_channel(f"127.0.0.1:{ground.port}", trust, options=options) as channel:
        yield channel


def said(error: grpc.RpcError) -> str:
    """The code and the words of a refusal."""
    return f"{error.code().name}: {(error.details() or '')[:160]}"


def refused(ground: Ground, name: str, request: Any, shown: Credentials) -> str:
    """Make one call of the Fleet API; what it was refused with."""
    with line(ground) as channel:
        try:
            answer = getattr(FleetStub(channel), name)(request, timeout=CALL_S, metadata=shown)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise GotIn("the call was neither answered nor refused") from None
            return said(error)
    raise GotIn(f"{name} was answered with {answer.ByteSize()} bytes")


# ------------------------------------------------------------------ a stranger


def _stranger(ground: Ground) -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    key = make_transport_key()
    return key, transport_pem(key.public_key()).encode()


def unknown_key(ground: Ground) -> str:
    """Activate a key of one's own."""
    key, public = _stranger(ground)
    request = ActivateNodeRequest(public_key=public, heartbeat_interval=30.0)
    return refused(ground, "ActivateNode", request, credentials(key))


def unknown_key_pulls(ground: Ground) -> str:
    """Ask for a site's messages with a key of one's own."""
    return refused(ground, "PullMessages", _pull(ground), credentials(_stranger(ground)[0]))


def a_sites_key_activated(ground: Ground) -> str:
    """Take a site's place for an hour, so that it is locked out."""
    request = ActivateNodeRequest(public_key=ground.public_key(VICTIM), heartbeat_interval=1800.0)
    return refused(ground, "ActivateNode", request, credentials(_stranger(ground)[0]))


def an_absent_sites_key_activated(ground: Ground) -> str:
    """The same to a site that is not there to hold its place."""
    request = ActivateNodeRequest(public_key=ground.public_key("west"), heartbeat_interval=1800.0)
    return refused(ground, "ActivateNode", request, credentials(_stranger(ground)[0]))


def a_sites_key_shown(ground: Ground) -> str:
    """Show a site's public key and sign with another."""
    shown = credentials(_stranger(ground)[0], shown=ground.public_key(VICTIM))
    return refused(ground, "PullMessages", _pull(ground), shown)


def no_credentials(ground: Ground) -> str:
    """Show nothing."""
    return refused(ground, "PullMessages", _pull(ground), [])


def rubbish_credentials(ground: Ground) -> str:
    """Show what is no key, no time and no signature."""
    rubbish: Credentials = [("flwr-public-key-bin", b"\0"), ("flwr-timestamp", "now"), ("flwr-signature-bin", b"\0")]
    return refused(ground, "PullMessages", _pull(ground), rubbish)


def _replayed(at: float) -> Callable[[Ground], str]:
    def attack(ground: Ground) -> str:
        """Use a site's own signature at another time than its own."""
        key = ground.enrolment(VICTIM).transport_key
        return refused(ground, "PullMessages", _pull(ground), credentials(key, at=at))

    return attack


def registers_itself(ground: Ground) -> str:
    """Ask the Fleet API to register a key."""
    key, public = _stranger(ground)
    return refused(ground, "RegisterNode", RegisterNodeFleetRequest(public_key=public), credentials(key))


def another_service(ground: Ground) -> str:
    """Call the Control API at the sites' port."""
    with line(ground) as channel:
        call = channel.unary_unary("/flwr.proto.Control/ListNodes")
        try:
            call(b"", timeout=CALL_S, metadata=credentials(_stranger(ground)[0]))
        except grpc.RpcError as error:
            return said(error)
    raise GotIn("the Control API answers at the sites' port")


# ------------------------------------------------------------------ too large


def oversize_message(ground: Ground) -> str:
    """Send 256 MB without credentials."""
    request = ActivateNodeRequest(public_key=bytes(256_000_000), heartbeat_interval=30.0)
    return refused(ground, "ActivateNode", request, [])


def oversize_message_of_a_site(ground: Ground) -> str:
    """Send, with a site's own key, a message that is longer than an object may be."""
    request = ActivateNodeRequest(public_key=bytes(2 * OBJECT_LIMIT_BYTES), heartbeat_interval=30.0)
    return refused(ground, "ActivateNode", request, credentials(ground.enrolment().transport_key))


def oversize_headers(ground: Ground) -> str:
    """Send a megabyte of credentials."""
    return refused(ground, "PullMessages", _pull(ground), [("flwr-public-key-bin", bytes(1 << 20))])


# ------------------------------------------------------------------ an insider


def another_sites_key_activated(ground: Ground) -> str:
    """A site of the roster takes another's place."""
    request = ActivateNodeRequest(public_key=ground.public_key(VICTIM), heartbeat_interval=1800.0)
    return _by_insider(ground, "ActivateNode", request)


def another_sites_messages_pulled(ground: Ground) -> str:
    """A site of the roster asks for another's messages."""
    return _by_insider(ground, "PullMessages", _pull(ground))


def another_site_signed_off(ground: Ground) -> str:
    """A site of the roster says that another goes."""
    return _by_insider(ground, "DeactivateNode", DeactivateNodeRequest(node_id=_node_of(ground, VICTIM)))


def another_sites_pulse(ground: Ground) -> str:
    """A site of the roster beats another's heart."""
    node = Node(node_id=_node_of(ground, VICTIM))
    return _by_insider(ground, "SendNodeHeartbeat", SendNodeHeartbeatRequest(node=node, heartbeat_interval=1800.0))


def another_sites_object_pulled(ground: Ground) -> str:
    """A site of the roster, who has learned the name of an object of another's message, asks for it."""
    note = _taken_by(ground, VICTIM)
    request = PullObjectRequest(node=_own(ground), run_id=note.metadata.run_id, object_id=note.id)
    return _by_insider(ground, "PullObject", request)


def another_sites_message_confirmed(ground: Ground) -> str:
    """A site of the roster says that another has got its message, so that the server drops it."""
    note = _taken_by(ground, VICTIM)
    request = ConfirmMessageReceivedRequest(node=_own(ground), run_id=note.metadata.run_id, message_object_id=note.id)
    return _by_insider(ground, "ConfirmMessageReceived", request)


def another_sites_message_answered(ground: Ground) -> str:
    """A site of the roster answers another's message in its name, so that the true answer comes too late."""
    note = _taken_by(ground, VICTIM)
    reply = Message(metadata=note.metadata)
    reply.metadata.reply_to_message_id, reply.metadata.message_id = note.id, "0" * 64
    reply.metadata.src_node_id, reply.metadata.dst_node_id = note.metadata.dst_node_id, note.metadata.src_node_id
    request = PushMessagesRequest(node=_own(ground), messages_list=[reply], message_object_trees=[note.tree])
    return _by_insider(ground, "PushMessages", request)


def _by_insider(ground: Ground, name: str, request: Any) -> str:
    return refused(ground, name, request, credentials(ground.enrolment().transport_key))


def _node_of(ground: Ground, site: str) -> int:
    return ground.nodes()[site]


def _own(ground: Ground) -> Node:
    return Node(node_id=_node_of(ground, "west"))


def _pull(ground: Ground) -> PullMessagesRequest:
    return PullMessagesRequest(node=Node(node_id=_node_of(ground, VICTIM)))


def _taken_by(ground: Ground, site: str) -> Note:
    """A message that a site is working on now."""
    parcels = Parcels(ground.sites[site] / "link" / "parcels")
    deadline = time.monotonic() + CALL_S
    while time.monotonic() < deadline:
        for note in parcels.open():
            return note
        time.sleep(0.005)
    raise ResourceError(f"{site} was given no work.", remedy="Read its log; try again.")


CALLS: Mapping[str, Callable[[Ground], str]] = {
    "unknown key": unknown_key,
    "unknown key pulls": unknown_key_pulls,
    "a site's key activated": a_sites_key_activated,
    "an absent site's key activated": an_absent_sites_key_activated,
    "a site's key shown, another signs": a_sites_key_shown,
    "no credentials": no_credentials,
    "rubbish credentials": rubbish_credentials,
    "an old signature": _replayed(-DAY_S),
    "a signature of tomorrow": _replayed(DAY_S),
    "registers itself": registers_itself,
    "Control API at the sites' port": another_service,
    "256 MB without credentials": oversize_message,
    "an oversize message of a site": oversize_message_of_a_site,
    "a megabyte of headers": oversize_headers,
    "another site's key activated": another_sites_key_activated,
    "another site's messages pulled": another_sites_messages_pulled,
    "another site signed off": another_site_signed_off,
    "another site's heartbeat": another_sites_pulse,
    "another site's object pulled": another_sites_object_pulled,
    "another site's message confirmed": another_sites_message_confirmed,
    "another site's message answered": another_sites_message_answered,
}
