"""The ServerApp's line to the virtual sites of Flower's simulation, over the public Grid.

Has the interface of `ServerLink`, for a Grid that lives in this process. Whole messages are held in
memory, which a simulation has for all its sites anyhow. A virtual node has a number of Flower's own
making; which site it plays, it is asked once, and until it has answered the site is not online.
"""

from collections.abc import Iterator
from pathlib import Path

from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from flwr.serverapp import Grid

from server.arrival import MALFORMED, Arrival, Lost
from server.pulse import Pulse
from shared.errors import TrustError


class MemoryLink:
    """Messages to virtual sites and their replies; for one thread.

    Args:
        grid: Flower's Grid of this run.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._nodes: dict[str, int] = {}  # site -> Flower's node id
        self._met: set[int] = set()  # nodes that were asked which site they play
        self._meeting: set[str] = set()  # ids of those questions
        self._waiting: dict[str, str] = {}  # message id -> site
        self._payloads: dict[str, bytes] = {}  # message id -> the reply's payload
        self._model: tuple[Path | None, ArrayRecord | None] = (None, None)

    def push(self, site: str, envelope: bytes, payload: Path | None = None) -> str:
        """Send one message to one site; see `ServerLink.push`. A payload file never changes its bytes."""
        content = RecordDict({"config": ConfigRecord({"envelope": envelope})})
        if payload is not None:
            content["payload"] = self._record(payload)
        message_id = self._send(self._nodes[site], MessageType.TRAIN, content)
        self._waiting[message_id] = site
        return message_id

    def poll(self) -> list[Arrival]:
        """What has come since the last call; each reply once."""
        awaited = [*self._waiting, *self._meeting]
        arrivals = []
        for message in self._grid.pull_messages(awaited) if awaited else ():
            message_id = message.metadata.reply_to_message_id
            if message_id in self._meeting:
                self._meeting.discard(message_id)
                self._meet(message)
            elif (site := self._waiting.pop(message_id, None)) is not None:
                arrivals.append(self._open(site, message_id, message))
        return arrivals

    def fetch(self, arrival: Arrival, *, limit: int) -> Iterator[bytes]:
        """The payload of a reply, in one piece.

        Raises:
            TrustError: more bytes than `limit`.
            Lost: it was fetched or dropped before.
        """
        payload = self._payloads.pop(arrival.message_id, None)
        if payload is None:
            raise Lost("A site's upload is not here any more.", remedy="Nothing; the site is asked again.")
        if len(payload) > limit:
            raise TrustError(
                f"The payload of site {arrival.site} is longer than allowed.", remedy="Compare the two sides' versions."
            )
        yield payload

    def drop(self, arrival: Arrival) -> None:
        """Let a reply's payload go."""
        self._payloads.pop(arrival.message_id, None)

    def withdraw(self, message_id: str) -> None:
        """Wait for this message's reply no longer."""
        self._waiting.pop(message_id, None)
        self._payloads.pop(message_id, None)

    def online(self) -> set[str]:
        """Sites whose virtual node has told its name; new nodes are asked."""
        nodes = set(self._grid.get_node_ids())
        for node in nodes - self._met:
            self._meeting.add(self._send(node, MessageType.QUERY, RecordDict()))
        self._met |= nodes
        return {site for site, node in self._nodes.items() if node in nodes}

    def pulses(self) -> dict[str, Pulse]:
        """Virtual nodes have no heartbeat: those that are there are alive."""
        return dict.fromkeys(self.online(), Pulse(age_s=0.0, alive=True))

    def close(self) -> None:
        """Nothing is open."""

    def _send(self, node: int, message_type: str, content: RecordDict) -> str:
        (message_id,) = self._grid.push_messages([Message(content, node, message_type)])
        return str(message_id)

    def _record(self, path: Path) -> ArrayRecord:
        if self._model[0] != path:
            data = path.read_bytes()
            array = Array(dtype="uint8", shape=(len(data),), stype="safetensors", data=data)
            self._model = (path, ArrayRecord({"payload": array}))
        return self._model[1]

    def _meet(self, message: Message) -> None:
        if message.has_content() and (site := message.content["config"]["site"]):
            self._nodes[str(site)] = message.metadata.src_node_id

    def _open(self, site: str, message_id: str, message: Message) -> Arrival:
        if message.has_error():
            return Arrival(site, message_id, error=message.error.code)
        records = message.content
        try:
            envelope = bytes(records["config"]["envelope"])
            payload = bytes(records["payload"]["payload"].data) if "payload" in records else b""
        except (KeyError, TypeError):
            return Arrival(site, message_id, error=MALFORMED)
        if payload:
            self._payloads[message_id] = payload
        return Arrival(site, message_id, envelope, len(payload))
