"""Calls to the server that ask for nothing and change nothing: is it there, what time has it, how fast is the line.

Flower tells nobody its time, but refuses a stamp that is more than 5 s ahead of its clock or 305 s behind, and looks
at the stamp before anything else. So a call in the name of no node, which is refused in any case, tells by the words of
its refusal whether a stamp was taken; from where that changes, the server's clock is known. Source: flwr 1.39,
``flwr/server/superlink/fleet/grpc_rere/node_auth_server_interceptor.py``.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import grpc
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from flwr.proto.message_pb2 import PushObjectRequest
from flwr.proto.node_pb2 import Node
from flwr.proto.run_pb2 import GetRunRequest

from client.admission import Reach
from client.line.fleet import CALL_TIMEOUT_S, Fleet, Forgotten
from client.line.membership import Membership
from client.line.way import Way
from shared.errors import LinkError

PROBE_BYTES = 1 << 20
_NOBODY = 0  # the number of no node
_AHEAD_S, _BEHIND_S = 5.0, 305.0  # Flower takes stamps from so far behind its clock to so far ahead of it
_NEAR_S = (4.0, 6.0)  # around the edge of a clock that is right
_STEP_S, _STEPS = 250.0, 376  # 26 hours either way, as the line itself looks
_PRECISION_S = 0.25


class Soundings:
    """One channel for such calls.

    Args:
        reach: where the server is, whom to trust there, and what to show.
        key: the site's transport key, P-384.
        clock: Unix time in seconds of this computer.
        way: by which proxy, and who may open the line there.
    """

    def __init__(self, reach: Reach, *, key: EllipticCurvePrivateKey, clock: Callable[[], float], way: Way) -> None:
        self._fleet = Fleet(**reach._asdict(), key=key, clock=clock, way=way)

    def close(self) -> None:
        """End the channel."""
        self._fleet.close()

    def register(self, memory: Path, *, leave: bool) -> None:
        """Become a member as the site does, and, where no agent serves, leave again at once.

        Args:
            memory: the file in which this step may remember the node, a copy of the site's own.
            leave: whether to say good-bye.

        Raises:
            NotAdmitted: the server does not know the site's key, or another agent has its place.
            LinkError: the line does not work.
        """
        member = Membership(self._fleet, memory)
        member.join()
        if leave:
            member.leave()

    def clock_behind_s(self) -> float:
        """Seconds by which this computer's clock is behind the server's; negative if it is ahead.

        Raises:
            LinkError: the line does not work, or the clocks are more than 26 hours apart.
        """
        before = self._fleet.clock_offset_s
        try:
            return offset_of(self._takes)
        finally:
            self._fleet.clock_offset_s = before

    def round_trip_s(self, *, times: int = 5) -> float:
        """Seconds of a small call, the median of some. Raises `LinkError`."""
        self._nothing(b"")
        return median(self._nothing(b"") for _ in range(times))

    def bytes_up_per_s(self, *, size: int = PROBE_BYTES) -> float:
        """Bytes per second that arrive at the server: of random ones, which it refuses. Raises `LinkError`."""
        whole_s = self._nothing(os.urandom(size))
        return size / max(whole_s - self.round_trip_s(), whole_s / 2)

    def still_there(self) -> bool:
        """Whether a call on the line as it is gets its answer within the time of a call."""
        try:
            self._nothing(b"")
        except LinkError:
            return False
        return True

    def _nothing(self, content: bytes) -> float:
        """Seconds of a call in the name of no node."""
        began = time.perf_counter()
        with contextlib.suppress(Forgotten):
            request = PushObjectRequest(node=Node(node_id=_NOBODY), object_content=content)
            self._fleet.call("PushObject", request, timeout_s=CALL_TIMEOUT_S)
        return time.perf_counter() - began

    def _takes(self, offset_s: float) -> bool:
        self._fleet.clock_offset_s = offset_s
        call = self._fleet.begin("GetRun", GetRunRequest(node=Node(node_id=_NOBODY)), timeout_s=CALL_TIMEOUT_S)
        try:
            call.future.result()
        except grpc.RpcError as error:
            said: Any = error
            if said.code() is grpc.StatusCode.UNAUTHENTICATED:
                return "timestamp" not in (said.details() or "")
            raise LinkError("The server did not answer.", remedy="Wait, and try again.") from None
        return True


def offset_of(takes: Callable[[float], bool]) -> float:
    """How far a server's clock is ahead of ours, in seconds, from which stamps it takes.

    Args:
        takes: whether it takes a stamp so many seconds ahead of our clock.

    Raises:
        LinkError: it takes none within 26 hours.
    """
    low = next((offset for offset in _offsets() if takes(offset)), None)
    if low is None:
        raise LinkError(
            "This computer's clock is more than 26 hours from the server's.",
            remedy="Set this computer's date and time, and keep them by NTP.",
        )
    high = low + _AHEAD_S + _BEHIND_S
    for near in _NEAR_S if low == 0.0 else ():
        low, high = (near, high) if takes(near) else (low, min(high, near))
    while high - low > _PRECISION_S:
        middle = (low + high) / 2
        low, high = (middle, high) if takes(middle) else (low, middle)
    return round((low + high) / 2 - _AHEAD_S, 1)


def _offsets() -> Iterator[float]:
    yield 0.0
    for step in range(_STEPS):
        yield -150.0 - _STEP_S * step
        yield 150.0 + _STEP_S * step
