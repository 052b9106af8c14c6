"""Fifty ways to damage a ledger that was handed over, each by a random generator, and what our verifier says of it."""

import random
import re
from collections.abc import Callable
from typing import Any

from audited import SITE, Handed

from deploy.audit.examine import Findings
from deploy.audit.words import verdict
from shared.chain import Tip

Lines = list[bytes]


def flip(handed: Handed, rng: random.Random) -> tuple[Lines, int]:
    whole = bytearray(handed.ledger.read_bytes())
    place = rng.randrange(len(whole))
    whole[place] ^= rng.randrange(1, 256)
    return bytes(whole).splitlines(keepends=True), bytes(whole[:place]).count(b"\n") + 1


def drop_last(handed: Handed, rng: random.Random) -> tuple[Lines, int]:
    return handed.lines[:-1], len(handed.lines)


def take_out(handed: Handed, rng: random.Random) -> tuple[Lines, int]:
    lines = handed.lines
    gone = rng.randrange(len(lines) - 1)
    return lines[:gone] + lines[gone + 1 :], gone + 1


def swap(handed: Handed, rng: random.Random) -> tuple[Lines, int]:
    lines = handed.lines
    one, other = sorted(rng.sample(range(len(lines)), 2))
    lines[one], lines[other] = lines[other], lines[one]
    return lines, one + 1


def rewrite(handed: Handed, rng: random.Random) -> tuple[Lines, int]:
    """By the site itself, which holds the key: a release of other bytes than those that left."""
    releases = [n for n, line in enumerate(handed.lines[:-2], 1) if b'"type":"release"' in line]
    chosen = rng.choice(releases)

    def change(entry: dict[str, Any]) -> dict[str, Any]:
        return {**entry, "data": entry["data"] | {"bytes": 1}} if entry["n"] == chosen else entry

    return handed.written_anew(change), chosen


def roll_back(handed: Handed, rng: random.Random) -> tuple[Lines, int]:
    """A backup of some moment, gone on from with the right key: as many entries as before, other ones."""
    lines = handed.lines[: rng.randrange(1, len(handed.lines) - 1)]
    tip = Tip()
    for line in lines:
        _, tip = tip.follow(line[:-1])
    for number in range(rng.randrange(3)):
        line = tip.next_line("worker_restarted", {"during": f"{number}"}, time="2026-01-02T03:04:05Z")
        _, tip = tip.follow(line)
        lines.append(line + b"\n")
    return [*lines, tip.head_line(key=handed.key, signer=SITE, time="2026-01-02T03:04:05Z") + b"\n"], len(lines)


WAYS: list[Callable[[Handed, random.Random], tuple[Lines, int]]] = [
    *[flip] * 20,
    drop_last,
    *[take_out] * 5,
    *[swap] * 8,
    *[rewrite] * 8,
    *[roll_back] * 8,
]


def told_by_ours(found: Findings) -> str:
    return re.sub(r"(broken at line \d+|unsigned):?.*", r"\1", verdict(found).partition(";")[0])
