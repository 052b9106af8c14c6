"""Ledgers that were changed on their way, or written anew by who holds the key."""

import json
from functools import partial
from io import BytesIO
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mutations import OF_VALUES, Input, changed, judge, sizes

from deploy.audit.anchors import Anchor
from deploy.audit.examine import examine
from deploy.audit.keys import Signer
from shared.canonical import digest
from shared.chain import HEAD, LONGEST_LINE, Tip
from shared.errors import TrustError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NORTH = Signer("north", KEY.public_key(), "")
NOW = "2026-01-02T03:04:05Z"
CONTRACT, MODEL = "c" * 64, "a" * 64
SAID: list[tuple[str, dict[str, Any]]] = [
    ("contract", {"study": "lungs", "study_digest": "d" * 64, "contract": CONTRACT}),
    ("model_received", {"study": "lungs", "round": 1, "model_digest": MODEL}),
    (
        "release",
        {
            **{"study": "lungs", "round": 1, "stage": "train", "kind": "ready", "bytes": 900, "replayed": False},
            **{"body_digest": "b" * 64, "update_digest": "e" * 64, "contract": CONTRACT, "scored_model": MODEL},
        },
    ),
    ("receipt", {"study": "lungs", "round": 1, "outcome": "counted", "update_digest": None, "model_digest": MODEL}),
    (HEAD, {}),
]


def written(said: list[tuple[str, dict[str, Any]]], after: list[bytes]) -> list[bytes]:
    """A chain that goes on so behind some lines, signed with the right key."""
    tip = Tip(len(after), digest(after[-1][:-1])) if after else Tip()
    lines = [*after]
    for kind, data in said:
        signed = kind == HEAD
        line = tip.head_line(key=KEY, signer="north", time=NOW) if signed else tip.next_line(kind, data, time=NOW)
        lines.append(line + b"\n")
        _, tip = tip.follow(line)
    return lines


LINES = written(SAID, [])
ANCHOR = Anchor(digest(LINES[-1][:-1]), "the coordinator")


def tampered(given: Input) -> bytes:
    """The file with changed bytes, or with one entry changed, or with two lines that change places."""
    way, lines = given.pick % 4, list(LINES)
    if way == 0:
        return changed(b"".join(LINES), [c for c in given.todo if c.kind not in OF_VALUES])
    place = given.pick // 4 % len(lines)
    if way == 1:
        other = given.todo[0].a % len(lines)
        lines[place], lines[other] = lines[other], lines[place]
    else:
        lines[place] = changed(lines[place][:-1], given.todo) + b"\n"
    return b"".join(lines)


@sizes
def test_a_changed_ledger_is_a_beginning_of_the_signed_one_or_refused(inputs: int) -> None:
    def check(given: Input) -> None:
        lines = list(iter(partial(BytesIO(tampered(given)).readline, LONGEST_LINE), b""))
        found = examine(lines, NORTH, [ANCHOR])
        assert found.end_anchored is (lines == LINES)
        if found.broken is None and found.signed:
            assert lines[: found.signed] == LINES[: found.signed]

    judge(check, inputs=inputs)


@sizes
def test_what_the_site_writes_anew_is_judged_and_never_the_anchored_ledger(inputs: int) -> None:
    """With the right key everything is consistent; the entries may say what they like."""

    def check(given: Input) -> None:
        place = given.pick % (len(SAID) - 1)
        kind, said = SAID[place]
        data = json.loads(changed(json.dumps(said).encode(), given.todo))
        if not isinstance(data, dict):
            return
        try:
            lines = written([(kind, data), (HEAD, {})], LINES[:place])
        except (ValueError, TrustError):  # no ledger can hold it
            return
        found = examine(lines, NORTH, [ANCHOR])
        assert found.broken is None
        assert found.end_anchored is (lines == LINES)

    judge(check, inputs=inputs // 4, kinds=tuple(OF_VALUES))
