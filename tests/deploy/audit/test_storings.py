"""A result in a PACS that nobody had signed for is a breach."""

from typing import Any

import pytest

from deploy.audit.storings import Storings
from shared.chain import Entry

MODEL, PACS = "ab" * 32, "https://pacs.example:443/dicom-web"
CONSENT = {"model": MODEL, "destination": PACS, "person": "ada", "given": "2026-01-02T12:00:00Z", "until": "2026-02-01"}
WHAT = {"model": MODEL, "kind": "sr", "instance": "cd" * 32, "bytes": 1, "destination": PACS}
SIGNED = ("store_consent", CONSENT)
SENT = ("result_sent", WHAT | {"sent": "2026-01-03T12:00:00.000Z"})
STORED = ("result_stored", WHAT | {"stored": "2026-01-03T12:00:01.000Z"})
WITHDRAWN = ("store_consent_withdrawn", {"model": MODEL, "person": "ada", "given": "2026-01-04T12:00:00Z"})


def faults(*said: tuple[str, dict[str, Any]]) -> list[str]:
    storings = Storings()
    entries = [Entry({"n": n, "type": kind, "data": data}, "") for n, (kind, data) in enumerate(said, 1)]
    return [fault for entry in entries if (fault := storings.follow(entry))]


def test_what_was_signed_for_is_no_breach() -> None:
    assert faults(SIGNED, SENT, STORED, STORED, WITHDRAWN) == []
    assert faults(SIGNED, SENT, WITHDRAWN, STORED) == []  # it was under way
    late = WHAT | {"sent": "2026-02-02T08:00:00Z"}  # still the last day, west of Greenwich
    assert faults(SIGNED, ("result_sent", late)) == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([SENT], "nobody"),
        ([STORED], "nobody"),
        ([SIGNED, WITHDRAWN, SENT], "nobody"),
        ([SIGNED, SENT, STORED, WITHDRAWN, STORED], "nobody"),
        ([SIGNED, ("result_sent", SENT[1] | {"destination": "https://pacs.example:443/stranger"})], "another PACS"),
        ([SIGNED, ("result_sent", SENT[1] | {"model": "ef" * 32})], "nobody"),
        ([SIGNED, ("result_sent", SENT[1] | {"sent": "2026-02-03T00:00:00Z"})], "outside the days"),
        ([SIGNED, ("result_sent", SENT[1] | {"sent": "2026-01-02T11:00:00Z"})], "outside the days"),
        ([SIGNED, ("result_stored", STORED[1] | {"stored": "once"})], "when"),
    ],
)
def test_whatever_else_is(said: list[tuple[str, dict[str, Any]]], why: str) -> None:
    (fault,) = faults(*said)
    assert why in fault
