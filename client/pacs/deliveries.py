"""What a PACS sends by C-STORE, over its own line or ours: taken if a batch waits for it, else refused.

The bytes of one message are counted as they come, and a line that sends more than a file may have is broken off. What
goes wrong while an instance is kept (a full disk, the end of the hours) ends its batch and is raised there.
"""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pynetdicom import evt
from pynetdicom.pdu import P_DATA_TF

from client.imaging.form import MAX_FILE_BYTES
from client.pacs.archive import Intake

_STORED, _NOT_ASKED, _NO_MORE = 0x0000, 0x0124, 0xA700  # PS3.7 C, PS3.4 B.2.3
_PIECE_BYTES = 256 << 10


@dataclass
class Batch:
    """Instances that were asked for.

    Attributes:
        left: those that have not come, by UID.
        intake: where they go.
        error: what ended the batch.
        overflowed: more came in one message than a file may have.
    """

    left: set[str]
    intake: Intake
    error: Exception | None = field(default=None, init=False)
    overflowed: bool = field(default=False, init=False)


class Deliveries:
    """The waiting batches of all lanes.

    Args:
        most_bytes: of one message.
    """

    def __init__(self, *, most_bytes: int = MAX_FILE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._waiting: dict[str, Batch] = {}
        self._lock = threading.Lock()

    @contextmanager
    def waiting(self, instances: Iterable[str], intake: Intake) -> Iterator[Batch]:
        """Take these instances while the block lasts; at its end, raise what ended the batch."""
        batch = Batch(set(instances), intake)
        with self._lock:
            self._waiting |= dict.fromkeys(batch.left, batch)
            mine = list(batch.left)
        try:
            yield batch
        finally:
            with self._lock:
                for uid in mine:
                    self._waiting.pop(uid, None)
        if batch.error:
            raise batch.error

    def handlers(self, batch: Batch | None = None) -> list[Any]:
        """What pynetdicom calls on one line, or on every line of a server."""
        come: dict[object, int] = {}

        def count(event: Any) -> None:
            if isinstance(event.pdu, P_DATA_TF):
                come[event.assoc] = come.get(event.assoc, 0) + event.pdu.pdu_length
                if come[event.assoc] > self._most_bytes:
                    if batch:
                        batch.overflowed = True
                    _hang_up(event.assoc)

        def forget(event: Any) -> None:
            come.pop(event.assoc, None)

        return [
            (evt.EVT_PDU_RECV, count),
            (evt.EVT_DIMSE_RECV, forget),
            (evt.EVT_CONN_CLOSE, forget),
            (evt.EVT_C_STORE, self._store),
        ]

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        with self._lock:
            batch = self._waiting.pop(uid, None)
        if batch is None:
            return _NOT_ASKED
        if batch.error or batch.overflowed:  # of a line that was hung up, what had already come is still read
            return _NO_MORE
        try:
            batch.intake.turn()
            batch.intake.take(uid, _pieces(event.encoded_dataset()))
        except Exception as error:  # the library would swallow it; the batch raises it
            batch.error = error
            return _NO_MORE
        batch.left.discard(uid)
        return _STORED


def _hang_up(line: Any) -> None:
    """End a line as if the peer had; an abort from here would leave whoever waits for its answer waiting."""
    with suppress(OSError):
        # Below TLS: its own shutdown would let what is still to come be read without it.
        socket.socket.shutdown(line.dul.socket.socket, socket.SHUT_RDWR)


def _pieces(data: bytes) -> Iterator[bytes]:
    return (data[start : start + _PIECE_BYTES] for start in range(0, len(data), _PIECE_BYTES))
