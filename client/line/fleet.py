"""Signed calls to the Fleet API of a Flower 1.39 SuperLink, over gRPC and TLS.

1. The server must show a certificate of the federation's CA; there is no plaintext mode.
2. Every call carries the site's transport key and an ECDSA signature over a timestamp, which is all
   that Flower asks for. What the messages say is protected by their own envelopes.
3. The timestamp follows the server's clock. Flower tells nobody its time; it only refuses a stamp
   more than 5 s ahead of it or 305 s behind. So the first call that is refused for its stamp tries
   other offsets, nearest first, up to 26 h either way, and the offset that works is kept.
4. Every call has a deadline, no keepalive pings are sent (Flower's server answers them with GOAWAY),
   and no message larger than one object of ours is read.
5. Every failure becomes a `LinkError` that says what to do.

Membership and messages are left to `client/link.py`. Source: flwr 1.39,
``flwr/server/superlink/fleet/grpc_rere``.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from flwr.proto.fleet_pb2_grpc import FleetStub

from client.line.diagnosis import diagnose
from client.line.forward_proxy import address, channel_options
from client.line.way import Way
from shared.errors import LinkError
from shared.flower_objects import OBJECT_LIMIT_BYTES

CALL_TIMEOUT_S = 20.0
OBJECT_TIMEOUT_S = 120.0  # one object of 4 MiB at 35 kB/s; Flower forgets an upload after 180 s
_CLOCK_STEP_S = 250.0  # below the 310 s that Flower's window is wide
_CLOCK_STEPS = 376  # 26 hours

_ANSWERING = ("PushMessages", "PushObject")
_PRESENCE = ("ActivateNode", "SendNodeHeartbeat", "DeactivateNode")
_NEVER_LEFT = "failed to connect"  # gRPC's words for a call that found no line to go out on


class Forgotten(LinkError):
    """The server does not know this node id any more (it was restarted)."""


class NotAdmitted(LinkError):
    """The server refused to activate this site's key."""


class MessageGone(LinkError):
    """The server no longer holds this message, or its run is over."""


_REFUSALS: tuple[tuple[Any, str, type[LinkError], str, str], ...] = (
    (
        grpc.StatusCode.UNAUTHENTICATED,
        "Invalid node ID",
        Forgotten,
        "The server does not know this site's session.",
        "Connect again.",
    ),
    (
        grpc.StatusCode.FAILED_PRECONDITION,
        "2004",  # Flower's FLEET_NODE_ACTIVATION_FAILED
        NotAdmitted,
        "The server does not admit this site's key: it is not on the roster, or active elsewhere.",
        "Ask the coordinator whether this site is admitted, and end any second agent of this site.",
    ),
    (
        grpc.StatusCode.PERMISSION_DENIED,
        "2007",  # Flower's FLEET_RUN_STATUS_NOT_ALLOWED
        MessageGone,
        "The run of this message is over.",
        "Nothing; wait for the next message.",
    ),
    (
        grpc.StatusCode.PERMISSION_DENIED,
        "another site",  # the guard's word, who has forgotten the oldest of very many messages
        MessageGone,
        "The server no longer knows this message as this site's.",
        "Nothing; wait for the next message.",
    ),
    (
        grpc.StatusCode.DEADLINE_EXCEEDED,
        "",
        LinkError,
        "The server did not answer in time.",
        "Check the speed of the line; the call is made again.",
    ),
    (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "",
        LinkError,
        "The server sent more than an object may hold.",
        "Show this to the coordinator.",
    ),
)


@dataclass(frozen=True)
class Call:
    """A call under way; for `Fleet.finish`."""

    future: Any
    request_bytes: int
    answers: bool = False  # whether it carries what the site says
    presence: bool = False  # whether it says no more than that the site is there


@dataclass(frozen=True)
class Traffic:
    """What went over the line since the start: bytes of Flower's messages, and calls; one that broke counts whole.

    `answers_up` are the bytes of calls that carried answers of this site and were themselves answered, `presence_up`
    those of heartbeats and the like, which hold nothing but the number of this site's node or its public key.
    """

    bytes_up: int = 0
    bytes_down: int = 0
    calls: int = 0
    answers_up: int = 0
    presence_up: int = 0


class Fleet:
    """One line to one SuperLink; thread-safe.

    Args:
        host: the server's name or address, as its certificate says it.
        port: the Fleet API's port.
        ca_pem: the federation's CA certificate.
        key: the site's transport key, P-384.
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
        clock: Callable[[], float],
        certificate_pem: bytes | None = None,
        way: Way = Way(),  # noqa: B008 - frozen
    ) -> None:
        self._key, self._clock, self._way = key, clock, way
        self.public_key = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self.clock_offset_s = 0.0
        self.traffic = Traffic()
        self._counting = threading.Lock()
        self._channels: list[grpc.Channel] = []
        self.reach(host=host, port=port, ca_pem=ca_pem, certificate_pem=certificate_pem)

    def reach(self, *, host: str, port: int, ca_pem: bytes, certificate_pem: bytes | None) -> None:
        """Make every further call so; arguments as of the class. Calls under way go on as they began."""
        self._host, self._port, self._trusted = host, port, ca_pem + self._way.inspection
        proxy = self._way.proxy_to(host)
        channel = grpc.secure_channel(
            str(proxy) if proxy else address(host, port),
            grpc.ssl_channel_credentials(
                self._trusted, _private_pem(self._key) if certificate_pem else None, certificate_pem
            ),
            options=[
                *channel_options(proxy, host=host, port=port),
                ("grpc.initial_reconnect_backoff_ms", 500),
                ("grpc.max_reconnect_backoff_ms", 5000),
                ("grpc.max_receive_message_length", OBJECT_LIMIT_BYTES),
                ("grpc.max_send_message_length", OBJECT_LIMIT_BYTES),
                ("grpc.enable_retries", 0),
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._channels.append(channel)
        self._stub = FleetStub(channel)

    def call(self, name: str, request: Any, *, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Make one call and wait for its answer.

        Args:
            name: a method of Flower's Fleet service.
            request: its protobuf.
            timeout_s: the deadline in seconds.

        Raises:
            LinkError: in one sentence, why there is no answer; `Forgotten`, `NotAdmitted` and
                `MessageGone` are the server's own refusals.
        """
        try:
            return self._answer(self.begin(name, request, timeout_s=timeout_s))
        except grpc.RpcError as error:
            if not _is_clock(error):
                raise self._explain(error) from None
        return self._call_with_other_clock(name, request, timeout_s)

    def begin(self, name: str, request: Any, *, timeout_s: float = OBJECT_TIMEOUT_S) -> Call:
        """Start one call; give what it returns to `finish`.

        Raises:
            LinkError: the channel is closed.
        """
        size = request.ByteSize()
        try:
            future = getattr(self._stub, name).future(request, timeout=timeout_s, metadata=self._signed())
        except ValueError:  # gRPC's word for a closed channel
            raise LinkError("This site's line is closed.", remedy="Start the site's agent again.") from None
        call = Call(future, size, name in _ANSWERING, name in _PRESENCE)
        self._count(call, 1)
        return call

    def finish(self, call: Call) -> Any:
        """Wait for the answer of a started call; raises as `call`."""
        try:
            return self._answer(call)
        except grpc.RpcError as error:
            raise self._explain(error) from None

    def close(self) -> None:
        """Close the line; calls under way fail."""
        for channel in self._channels:
            channel.close()

    def _answer(self, call: Call) -> Any:
        try:
            response = call.future.result()
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE and _NEVER_LEFT in (error.details() or ""):
                self._count(call, -1)
            raise
        with self._counting:
            was, answers = self.traffic, call.request_bytes if call.answers else 0
            self.traffic = replace(
                was, bytes_down=was.bytes_down + response.ByteSize(), answers_up=was.answers_up + answers
            )
        return response

    def _count(self, call: Call, times: int) -> None:
        """A call that went up the line, or, by -1, one that did not after all."""
        with self._counting:
            was, up = self.traffic, times * call.request_bytes
            self.traffic = replace(
                was,
                bytes_up=was.bytes_up + up,
                calls=was.calls + times,
                presence_up=was.presence_up + (up if call.presence else 0),
            )

    def _signed(self) -> list[tuple[str, str | bytes]]:
        stamp = datetime.fromtimestamp(self._clock() + self.clock_offset_s, tz=UTC).isoformat()
        signature = self._key.sign(stamp.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        return [
            ("flwr-public-key-bin", self.public_key),
            ("flwr-timestamp", stamp),
            ("flwr-signature-bin", signature),
        ]

    def _call_with_other_clock(self, name: str, request: Any, timeout_s: float) -> Any:
        before = self.clock_offset_s
        for offset in _offsets():
            self.clock_offset_s = offset
            try:
                return self._answer(self.begin(name, request, timeout_s=timeout_s))
            except grpc.RpcError as error:
                if not _is_clock(error):
                    raise self._explain(error) from None
        self.clock_offset_s = before
        raise LinkError(
            "This computer's clock is more than 26 hours from the server's.",
            remedy="Set this computer's date and time, and keep them by NTP.",
        )

    def _explain(self, error: Any) -> LinkError:
        code, details = error.code(), error.details() or ""
        for refused, words, kind, what, remedy in _REFUSALS:
            if code is refused and words in details:
                return kind(what, remedy=remedy)
        if "http2 header with status" in details:
            return _proxy(details)
        if code is grpc.StatusCode.UNAVAILABLE:
            return diagnose(self._host, self._port, self._trusted, proxy=self._way.proxy_to(self._host))
        return LinkError(f"The server failed ({code.name.lower()}).", remedy="Ask the coordinator for its log.")


def _proxy(details: str) -> LinkError:
    status = next((word for word in details.replace(",", " ").split() if word.isdigit() and len(word) == 3), "an error")
    return LinkError(
        f"A proxy in front of the server answered HTTP {status}.",
        remedy="Ask the coordinator for this site's admission, and take it by `wardround site renew FILE`.",
    )


def _is_clock(error: Any) -> bool:
    return error.code() is grpc.StatusCode.UNAUTHENTICATED and "timestamp" in (error.details() or "")


def _offsets() -> Iterator[float]:
    yield 0.0
    for step in range(_CLOCK_STEPS):
        yield -150.0 - _CLOCK_STEP_S * step  # this computer is ahead
        yield 150.0 + _CLOCK_STEP_S * step


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
