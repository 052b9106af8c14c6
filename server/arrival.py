"""What comes back from a site over the line, before anything in it is believed.

Types only: `server/link.py` and `server/memory_link.py` make them, `server/reception.py` reads them.
"""

from dataclasses import dataclass, field

from shared.errors import LinkError

MALFORMED = 0  # the reply does not have Wardround's form (Flower's UNKNOWN)
LOST = 3  # Flower's MESSAGE_UNAVAILABLE: the reply's upload was given up
NODE_GONE = 5  # Flower's NODE_UNAVAILABLE: no heartbeat for 20 s


@dataclass(frozen=True)
class Arrival:
    """One reply, or Flower's word that there will be none.

    Attributes:
        site: who was asked; who answered is for the envelope's signature to say.
        message_id: what `ServerLink.push` returned.
        envelope: the signed envelope, not verified; empty with an error.
        payload_bytes: the declared length of the payload; 0 without one.
        error: None, `NODE_GONE`, `LOST`, or another of Flower's error codes.
    """

    site: str
    message_id: str
    envelope: bytes = field(default=b"", repr=False)
    payload_bytes: int = 0
    error: int | None = None
    _reply: str = ""
    _chunks: tuple[str, ...] = field(default=(), repr=False)


class Lost(LinkError):
    """The reply will not arrive: its upload was given up or its objects are gone."""


class Unreachable(LinkError):
    """The site cannot be sent anything now; the line to the others works."""
