"""The chain: entries that cannot be changed unseen, the same for a site's ledger and a study's journal.

One entry is one line of RFC 8785 canonical JSON, `{"data", "n", "prev", "time", "type", "v"}`; other
fields may stand beside these and are kept. Its hash is the SHA-256 of the line without the newline.
Once in a while the writer signs the chain so far in an entry of type ``head``.

A chain verifies if, for every line in turn,

1. it ends in a newline, is no longer than `LONGEST_LINE` and is canonical JSON, at most `DEEPEST` levels deep;
2. it has the fields above, each of its type, and format number `FORMAT`;
3. `n` counts up from 1, and `prev` is the hash of the line before (64 zeros for the first);
4. if it is a head, its signer is the expected one and the signature holds for the entry itself; of a writer
   who has had several keys, none signs after a later one.

The chain shows that nothing was changed or taken out before a head. It does not show that nothing
was cut off after the last head that somebody else has seen: anchoring heads elsewhere is for the
callers, as is what the entries mean. The file is kept by `shared/ledger.py`; the format with a test
vector is in `docs/ledger-format.md`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.canonical import canonical, digest, parse_canonical
from shared.errors import ProtocolError, TrustError
from shared.keys import KeysInTurn, VerifyKey

FORMAT = 1
LONGEST_LINE = 1 << 20  # bytes, newline included
DEEPEST = 64  # levels of objects and arrays in a line, so that no reader's stack decides what it accepts
NO_ENTRY = "0" * 64
HEAD = "head"
CUT = "cut"
_HEAD_PURPOSE = b"wardround ledger head 1\n"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,47}")
_HEX = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}")


@dataclass(frozen=True)
class Entry:
    """One line of a ledger. `fields` holds all of it, known or not; `hash` is that of the line."""

    fields: Mapping[str, Any]
    hash: str

    @property
    def n(self) -> int:
        """Place in the chain, from 1."""
        return int(self.fields["n"])

    @property
    def time(self) -> str:
        """When the writer says it was written (RFC 3339, UTC)."""
        return str(self.fields["time"])

    @property
    def type(self) -> str:
        """What kind of entry it is."""
        return str(self.fields["type"])

    @property
    def data(self) -> dict[str, Any]:
        """What the entry says."""
        return dict(self.fields["data"])


class Verdict(NamedTuple):
    """What an auditor may say about a ledger.

    Attributes:
        ok: every line follows the rules.
        entries: number of lines that follow them, before the first that does not.
        head: hash of the last of these.
        signed_entries: how many of these the last head covers, itself included.
        first_bad_line: number of the first line that does not follow the rules, from 1.
        reason: which rule it breaks.
    """

    ok: bool
    entries: int
    head: str
    signed_entries: int
    first_bad_line: int | None = None
    reason: str = ""

    @property
    def end_signed(self) -> bool:
        """Whether the last entry is a head, so that the signature covers the whole chain."""
        return self.entries > 0 and self.signed_entries == self.entries


@dataclass(frozen=True)
class Tip:
    """Where a chain has got to: number of entries, and the hash of the last one."""

    count: int = 0
    head: str = NO_ENTRY

    def next_line(self, entry_type: str, data: Mapping[str, Any], *, time: str) -> bytes:
        """The canonical line, without newline, that would follow; `follow` says whether it can be read again.

        Raises:
            ValueError: type or time is not in its form, the data is not JSON, or the line is too long.
        """
        if not _TYPE.fullmatch(entry_type) or not _TIME.fullmatch(time):
            raise ValueError("an entry needs a type of a-z, 0-9, _ and an RFC 3339 time in UTC ending in Z")
        fields = {"v": FORMAT, "n": self.count + 1, "prev": self.head, "time": time, "type": entry_type, "data": data}
        line = canonical(fields)
        if len(line) >= LONGEST_LINE:
            raise ValueError(f"an entry takes at most {LONGEST_LINE} bytes")
        return line

    def head_line(self, *, key: Ed25519PrivateKey, signer: str, time: str) -> bytes:
        """The line of the signed head that would follow; raises as `next_line`."""
        said = self.next_line(HEAD, {"signer": signer}, time=time)
        signature = key.sign(_HEAD_PURPOSE + said).hex()
        return self.next_line(HEAD, {"signer": signer, "signature": signature}, time=time)

    def follow(self, line: bytes) -> tuple[Entry, Self]:
        """Read the line that follows by rules 1 to 3, without its newline.

        Raises:
            TrustError: it breaks a rule; `what` says which.
        """
        fields = _entry_fields(line)
        if fields["n"] != self.count + 1 or fields["prev"] != self.head:
            raise _broken("does not follow the line before it")
        entry = Entry(fields, digest(line))
        return entry, type(self)(entry.n, entry.hash)


def verify(lines: Iterable[bytes], *, public_key: VerifyKey, signer: str) -> Verdict:
    """Check a whole chain by the module's rules.

    Args:
        lines: the lines with their newlines, such as `read_lines` gives.
        public_key: the identity key of the ledger's writer, or all that it has had (`KeysInTurn`).
        signer: the name that its heads must carry.
    """
    count, head, signed = 0, NO_ENTRY, 0
    try:
        for entry in verified(lines, public_key=public_key, signer=signer):
            count, head = entry.n, entry.hash
            signed = entry.n if entry.type == HEAD else signed
    except TrustError as error:
        return Verdict(False, count, head, signed, count + 1, error.what)
    return Verdict(True, count, head, signed)


def verified(
    lines: Iterable[bytes], *, public_key: VerifyKey, signer: str, after: Tip | None = None
) -> Iterator[Entry]:
    """The entries of a chain, each after it was checked by the module's rules; arguments as `verify`.

    `after` is where the lines before these had got to, if there were any.

    Raises:
        TrustError: the next line breaks a rule; `what` says which.
    """
    tip = after or Tip()
    for line in lines:
        entry, tip = tip.follow(without_newline(line))
        if entry.type == HEAD:
            public_key = _check_head(entry, public_key, signer)
        yield entry


def timestamp(unix_s: float) -> str:
    """A time in the form that entries carry: RFC 3339, UTC, microseconds."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def without_newline(line: bytes) -> bytes:
    """A line as it is hashed and parsed.

    Raises:
        TrustError: it does not end in a newline.
    """
    if not line.endswith(b"\n"):
        raise _broken("has no end, or is too long")
    return line[:-1]


def _entry_fields(line: bytes) -> dict[str, Any]:
    try:
        fields = parse_canonical(line)
    except TrustError:
        raise _broken("is not canonical JSON") from None
    if not isinstance(fields, dict):
        raise _broken("is not a JSON object")
    if line.count(b"{") + line.count(b"[") > DEEPEST and _depth(fields) > DEEPEST:
        raise _broken("is nested too deeply")
    _check_format(fields.get("v"))
    well_typed = (
        type(fields.get("n")) is int
        and _matches(_HEX, fields.get("prev"))
        and _matches(_TIME, fields.get("time"))
        and _matches(_TYPE, fields.get("type"))
        and isinstance(fields.get("data"), dict)
    )
    if not well_typed:
        raise _broken("lacks a field of an entry, or has one of another type")
    return fields


def _check_format(found: object) -> None:
    if type(found) is not int:
        raise _broken("has no format number")
    if found != FORMAT:
        raise ProtocolError(
            f"The entry has format {str(found)[:12]}; this software reads format {FORMAT}.",
            remedy="Use the version of Wardround that wrote the file.",
        )


def _depth(value: object) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _check_head(entry: Entry, public_key: VerifyKey, signer: str) -> VerifyKey:
    """Rule 4; the keys that may sign the next head."""
    data = entry.data
    signature = data.pop("signature", None)
    if data.get("signer") != signer or not isinstance(signature, str) or not _SIGNATURE.fullmatch(signature):
        raise _broken("is a head of another signer, or without a signature")
    made, said = bytes.fromhex(signature), _HEAD_PURPOSE + canonical({**entry.fields, "data": data})
    try:
        if isinstance(public_key, KeysInTurn):
            return public_key.since(made, said)
        public_key.verify(made, said)
    except InvalidSignature:
        raise _broken("is a head whose signature does not hold") from None
    return public_key


def _broken(why: str) -> TrustError:
    return TrustError(f"The entry {why}.", remedy="Keep the file as it is and compare it with the heads others hold.")
