"""As much of HTTP/2 (RFC 9113) and HPACK (RFC 7541) as breaks the rules of both: frames, and headers without a table.

It is written for intruders: nothing is read, and nothing is held against what a client may do.
"""

import ssl
import struct
from collections.abc import Iterable

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0x0, 0x1, 0x3, 0x4, 0x6, 0x9
END_STREAM, END_HEADERS = 0x1, 0x4
CANCEL = struct.pack(">I", 8)
PULL = "/flwr.proto.Fleet/PullMessages"


def frame(kind: int, stream: int, payload: bytes = b"", *, flags: int = 0, length: int | None = None) -> bytes:
    """One frame; `length` is what it says of itself where that is not the truth."""
    said = len(payload) if length is None else length
    return struct.pack(">I", said)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def opening() -> bytes:
    """What a client says first."""
    return PREFACE + frame(SETTINGS, 0)


def call(stream: int, path: str = PULL, *, extra: Iterable[tuple[str, str]] = (), flags: int = END_HEADERS) -> bytes:
    """The head of a gRPC call, which has no end of its own."""
    named = [(":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "127.0.0.1")]
    block = b"".join(literal(*pair) for pair in (*named, ("content-type", "application/grpc"), ("te", "trailers")))
    return frame(HEADERS, stream, block + b"".join(literal(*pair) for pair in extra), flags=flags)


def literal(name: str, value: str) -> bytes:
    """A header field that enters no table (RFC 7541, section 6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def context(ca_pem: bytes) -> ssl.SSLContext:
    """TLS as gRPC speaks it."""
    made = ssl.create_default_context(cadata=ca_pem.decode())
    made.set_alpn_protocols(["h2"])
    return made


def _text(text: str) -> bytes:
    return _integer(len(text)) + text.encode()


def _integer(value: int) -> bytes:
    """With a prefix of seven bits (RFC 7541, section 5.1)."""
    if value < 127:
        return bytes([value])
    value, out = value - 127, [127]
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])
