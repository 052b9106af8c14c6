"""Staying a member of the federation's SuperLink, under one node id.

Being a member is one step, repeated every 8 s: a heartbeat under the node id that is remembered on
disk, and only if the server has forgotten that id, an activation. It follows that

1. a restart after ``kill -9`` waits for nothing (Flower refuses to activate a node that was alive less
   than 20 s ago, but takes its heartbeat);
2. a stranger who activated this site's key, which Flower 1.39 allows to anyone, is overruled: the
   owner's heartbeat makes the node the owner's again, and only the owner can pull under it;
3. a restarted server is joined again as soon as it knows the key.

A stranger who is first at a freshly started server can still keep a site out for up to an hour,
because only the activation tells the node id; mutual TLS at the front closes that.
"""

import contextlib
import json
import random
import threading
from pathlib import Path

from flwr.proto.fleet_pb2 import ActivateNodeRequest, DeactivateNodeRequest
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node

from client.line.fleet import Fleet, Forgotten
from shared.durable import write_atomically
from shared.errors import LinkError

HEARTBEAT_INTERVAL_S = 10.0  # Flower's minimum; a site is missed after two of them
_PULSE_S = (7.0, 9.0)
_RETRY_S = (0.5, 5.0)


class Membership:
    """One site's place at one SuperLink; thread-safe.

    Args:
        fleet: the calls.
        memory: a file for the node id and the clock offset.

    Attributes:
        node_id: the last known node id, or None before the first activation.
        online: whether the last step succeeded.
    """

    def __init__(self, fleet: Fleet, memory: Path) -> None:
        self._fleet, self._memory = fleet, memory
        self._joining = threading.Lock()
        self._closing = threading.Event()
        self._heart: threading.Thread | None = None
        self.online = False
        self.node_id: int | None = None
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads(memory.read_bytes())
            self.node_id, fleet.clock_offset_s = int(kept["node_id"]), float(kept["clock_offset_s"])

    def join(self) -> None:
        """Take the step once.

        Raises:
            LinkError: it did not work.
        """
        with self._joining:
            before = (self.node_id, self._fleet.clock_offset_s)
            self.online = False
            if not self._known():
                self._activate()
            self.online = True
            if (self.node_id, self._fleet.clock_offset_s) != before:
                kept = {"node_id": self.node_id, "clock_offset_s": self._fleet.clock_offset_s}
                write_atomically(self._memory, json.dumps(kept).encode(), mode=0o600)

    def keep(self) -> None:
        """Take the step from now on in a thread, without an end; once started, it goes on."""
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._heart.start()

    def give_up(self) -> None:
        """End every pause at once, this one's and those of who waits for the server."""
        self._closing.set()

    def leave(self) -> None:
        """End the thread, and tell the server that this site is away, if it can be reached."""
        self._closing.set()
        if self._heart is not None:
            self._heart.join()
        if self.online and self.node_id is not None:
            with contextlib.suppress(LinkError):
                self._fleet.call("DeactivateNode", DeactivateNodeRequest(node_id=self.node_id), timeout_s=2.0)
        self.online = False

    def pause(self, seconds: tuple[float, float]) -> bool:
        """Wait for a random time between two; True, at once, if this site is leaving."""
        return self._closing.wait(random.uniform(*seconds))  # noqa: S311

    def _beat(self) -> None:
        while not self.pause(_PULSE_S if self.online else _RETRY_S):
            with contextlib.suppress(LinkError):
                self.join()

    def _known(self) -> bool:
        if self.node_id is None:
            return False
        request = SendNodeHeartbeatRequest(node=Node(node_id=self.node_id), heartbeat_interval=HEARTBEAT_INTERVAL_S)
        try:
            return bool(self._fleet.call("SendNodeHeartbeat", request).success)
        except Forgotten:
            return False

    def _activate(self) -> None:
        request = ActivateNodeRequest(public_key=self._fleet.public_key, heartbeat_interval=HEARTBEAT_INTERVAL_S)
        self.node_id = int(self._fleet.call("ActivateNode", request).node_id)
