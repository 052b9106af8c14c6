"""Which lines of the SuperLink's log are refused callers, and what to tell the coordinator about each.

Pure: a line comes in, a sentence of ours goes out. Callers choose much of what stands in a line, so
nothing of a line is repeated: it is compared, and the sentence names only sites of the roster.

What Flower 1.39 and gRPC 1.8x write (``flwr/supercore/error/grpc.py``; ``ssl_transport_security.cc``
at GRPC_VERBOSITY=INFO), and nothing else, can be recognised. A call with a foreign signature or a
wrong timestamp leaves no line, nor does a caller's address.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ACTIVATION = re.compile(
    r"\[/flwr\.proto\.Fleet/ActivateNode\]\[ApiError:2004\] "
    r"Attempted to register SuperNode with public key: (?P<key>.*), exception: "
    r"(?P<why>No SuperNode found with the given public key|SuperNode with node ID \d+ could not be activated)\.$"
)
_HANDSHAKE = re.compile(
    r"[IE]\d{4} [\d:.]+ +\d+ ssl_transport_security\.cc:\d+\] Handshake failed with error SSL_ERROR_SSL: "
    r"error:[0-9a-f]+:SSL routines:OPENSSL_internal:(?P<reason>[A-Z0-9_]+)"
)
_WITHOUT_TLS = {"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL"}
_OLD_TLS = {"UNSUPPORTED_PROTOCOL", "NO_SHARED_CIPHER", "VERSION_TOO_LOW", "NO_PROTOCOLS_ENABLED"}
# A client of OpenSSL that refuses a TLS 1.3 certificate says so in an alert of two bytes without
# encryption, where an encrypted record has at least 17; other clients send an alert that has a name.
_DISTRUST = {
    "BAD_PACKET_LENGTH",
    "TLSV1_ALERT_UNKNOWN_CA",
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
}


@dataclass(frozen=True)
class Refused:
    """One refused caller.

    Attributes:
        kind: what for; the same kind about the same site is the same news.
        site: the site of the roster that it concerns, or "".
        what: one sentence, what happened.
        remedy: one sentence, what the coordinator should do.
    """

    kind: str
    site: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


@dataclass(frozen=True)
class KnownKey:
    """A transport key of the roster: whose it is, and whether its entry holds now."""

    site: str
    valid: bool


def recognise(line: str, keys: Mapping[str, KnownKey]) -> Refused | None:
    """What a line of the log says of a refused caller; None if nothing.

    Args:
        line: one line of superlink.log.
        keys: the roster's transport keys (PEM).
    """
    if found := _HANDSHAKE.match(line):
        return _handshake(found["reason"])
    if found := _ACTIVATION.search(line):
        shown = {repr(key.encode()): known for key, known in keys.items()}
        return _activation(shown.get(found["key"]), unknown=found["why"].startswith("No"))
    return None


def _handshake(reason: str) -> Refused:
    if reason in _WITHOUT_TLS:
        return Refused(
            "plaintext",
            "",
            "A caller without TLS was refused.",
            "If a site complains, have it check that nothing between takes TLS away; else it is a scanner.",
        )
    if reason in _DISTRUST:
        return Refused(
            "distrust",
            "",
            "A caller broke off the TLS handshake: it does not accept this server's certificate.",
            "Ask which site says so on its console; its invitation may be of another federation, or its clock wrong.",
        )
    if reason in _OLD_TLS:
        return Refused(
            "old TLS",
            "",
            "A caller that speaks only an outdated TLS was refused.",
            "If a site complains, update what stands between it and this server.",
        )
    return Refused(
        "handshake",
        "",
        "A caller was refused in the TLS handshake.",
        "If a site complains, compare with run/superlink.log; else it is a scanner.",
    )


def _activation(known: KnownKey | None, *, unknown: bool) -> Refused | None:
    if known is None:
        return Refused(
            "unknown key",
            "",
            "A caller whose key is not on the roster was refused.",
            "If you expect a new site, admit its join request first; else somebody holds your CA certificate.",
        )
    if not unknown:
        return Refused(
            "second caller",
            known.site,
            f"A second caller tried to take the place of {known.site}, which is taken, and was refused.",
            f"Ask {known.site} whether it runs two agents or has just lost its folder; if not, a stranger tried.",
        )
    if not known.valid:
        return Refused(
            "entry",
            known.site,
            f"The site {known.site} was refused: its entry on the roster is not valid now.",
            f"Invite {known.site} again and admit its new join request.",
        )
    return None  # a restarted SuperLink hears its sites before it has been told their keys
