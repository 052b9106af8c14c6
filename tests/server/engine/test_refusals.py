"""Lines as Flower 1.39 and gRPC write them; what they say is one sentence, and nothing of the caller's."""

import re
from pathlib import Path

import pytest

from server.engine.refusals import KnownKey, Refused, recognise
from shared.keys import make_transport_key, transport_pem

NORTH, EAST, OTHER = (transport_pem(make_transport_key().public_key()) for _ in range(3))
KEYS = {NORTH: KnownKey("north", True), EAST: KnownKey("east", False)}
UNKNOWN = "No SuperNode found with the given public key."
TAKEN = "SuperNode with node ID 16551367498215636054 could not be activated."


def activation(key: str | bytes, why: str) -> str:
    shown = key.encode() if isinstance(key, str) else key
    return (
        "\x1b[91mERROR \x1b[0m:     [/flwr.proto.Fleet/ActivateNode][ApiError:2004] "
        f"Attempted to register SuperNode with public key: {shown!r}, exception: {why}"
    )


def handshake(reason: str, *, tail: str = "") -> str:
    return (
        "I1123 13:25:19.557251   10121 ssl_transport_security.cc:2563] Handshake failed with error "
        f"SSL_ERROR_SSL: error:10000070:SSL routines:OPENSSL_internal:{reason}{tail}"
    )


@pytest.mark.parametrize(
    ("line", "kind", "site"),
    [
        (activation(OTHER, UNKNOWN), "unknown key", ""),
        (activation(NORTH, TAKEN), "second caller", "north"),
        (activation(EAST, UNKNOWN), "entry", "east"),
        (handshake("BAD_PACKET_LENGTH"), "distrust", ""),
        (handshake("TLSV1_ALERT_UNKNOWN_CA"), "distrust", ""),
        (handshake("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "distrust", ""),
        (handshake("WRONG_VERSION_NUMBER", tail=": Invalid certificate verification context"), "plaintext", ""),
        (handshake("HTTP_REQUEST", tail=": Invalid certificate verification context"), "plaintext", ""),
        (handshake("UNSUPPORTED_PROTOCOL"), "old TLS", ""),
        (handshake("SOMETHING_NEW"), "handshake", ""),
    ],
)
def test_a_refused_caller_is_recognised(line: str, kind: str, site: str) -> None:
    found = recognise(line, KEYS)
    assert found is not None
    assert (found.kind, found.site) == (kind, site)
    assert found.what.endswith(".")
    assert found.remedy.endswith(".")
    assert str(found) == f"{found.what} {found.remedy}"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\x1b[92mINFO \x1b[0m:      [Fleet.ActivateNode] Activated node_id=9284677441220022887",
        "\x1b[91mERROR \x1b[0m:     [/flwr.proto.Fleet/PullObject][ApiError:2007] SuperNode 7, exception: over",
        activation(NORTH, UNKNOWN),  # the SuperLink was restarted and hears north before the supervisor
        activation(NORTH, "something else"),
        "W1123 13:25:14.404140    9963 log.cc:102] Log level INFO is not suitable for production.",
    ],
)
def test_other_lines_say_nothing(line: str) -> None:
    assert recognise(line, KEYS) is None


@pytest.mark.parametrize(
    "key",
    [
        b"\x1b[2J\nI1123 ssl_transport_security.cc:1] Handshake failed",
        b"', exception: " + TAKEN.encode(),
        f"public key: {NORTH.encode()!r}, exception: {TAKEN}".encode(),
        b"it's \xff",
        b"",
    ],
)
def test_a_key_that_imitates_a_log_is_an_unknown_key(key: bytes) -> None:
    found = recognise(activation(key, UNKNOWN), KEYS)
    assert found == recognise(activation(OTHER, UNKNOWN), KEYS)


def every_sentence() -> set[Refused]:
    lines = [activation(OTHER, UNKNOWN), activation(NORTH, TAKEN), activation(EAST, UNKNOWN)]
    lines += [handshake(r) for r in ("BAD_PACKET_LENGTH", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL", "NEW")]
    return {found for line in lines if (found := recognise(line, KEYS))}


def test_every_sentence_stands_in_the_table_for_the_night() -> None:
    document = (Path(__file__).parents[3] / "docs" / "refusals.md").read_text()
    said = {re.sub(r"\b(north|east)\b", "SITE", found.what) for found in every_sentence()}
    assert [what for what in said if what not in document] == []
