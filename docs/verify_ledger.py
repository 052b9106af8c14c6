"""An independent verifier of Wardround ledgers: it imports nothing of Wardround.

    python verify_ledger.py LEDGER KEY SIGNER [JOURNAL_OR_RECEIPTS COORDINATOR_KEY... | HEAD]

A KEY is an Ed25519 public key in 64 hex digits, SIGNER the name that the ledger's heads carry. A study's journal,
receipts, or a head in hex say what another party holds; where several have coordinated, name their keys in their turn.
Needs Python 3.9 and `cryptography`. The rules: docs/ledger-format.md; what a release must conform to is not checked.
"""

import hashlib
import json
import math
import re
import sys
from contextlib import suppress
from decimal import Decimal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

LONGEST_LINE, DEEPEST, LARGEST = 1 << 20, 64, 2**53 - 1
TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z"
FORMS = {"prev": r"[0-9a-f]{64}", "time": TIME, "type": r"[a-z][a-z0-9_]{0,47}"}


def number(value):
    """A double as RFC 8785 writes it: the digits of repr(), laid out as in ECMA-262 (Number::toString)."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "no number"  # which is no JSON, so that the line does not read back the same
    negative, figures, exponent = Decimal(repr(value)).normalize().as_tuple()
    sign, digits = "-" if negative else "", "".join(map(str, figures))
    point = len(digits) + exponent  # the value is 0.DIGITS times ten to this power
    if 0 < point <= 21:
        return sign + (digits.ljust(point, "0") if len(digits) <= point else f"{digits[:point]}.{digits[point:]}")
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}e{point - 1:+d}"


def canonical(value, depth=0):
    """The RFC 8785 text of a JSON value."""
    if (isinstance(value, int) and abs(value) > LARGEST) or (isinstance(value, (dict, list)) and depth == DEEPEST):
        raise ValueError("an integer is too large, or it is nested too deeply")
    if not isinstance(value, (dict, list)):
        return number(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{','.join(canonical(item, depth + 1) for item in value)}]"
    pairs = sorted(value.items(), key=lambda pair: pair[0].encode("utf-16-be"))
    return f"{{{','.join(f'{canonical(key)}:{canonical(item, depth + 1)}' for key, item in pairs)}}}"


def parse(line):
    """The entry of a line without its newline, if its bytes are the canonical ones."""
    same = False
    with suppress(ValueError, RecursionError):
        entry = json.loads(line.decode("utf-8"))
        same = canonical(entry).encode("utf-8") == line
    if not same or not isinstance(entry, dict):
        raise ValueError("it is not a canonical JSON object")
    formed = all(isinstance(entry.get(name), str) and re.fullmatch(form, entry[name]) for name, form in FORMS.items())
    counted = type(entry.get("n")) is int and type(entry.get("v")) is int and entry["v"] == 1
    if not formed or not counted or not isinstance(entry.get("data"), dict):
        raise ValueError("it lacks a field, or has one in another form")
    return entry


def since(keys, signature, purpose, said):
    """The keys from the one on that signed what was said for a purpose; the signature is in hex."""
    formed = isinstance(signature, str) and re.fullmatch("[0-9a-f]{128}", signature)
    text = f"{purpose}\n{canonical(said)}".encode()
    for turn, key in enumerate(keys if formed else ()):
        with suppress(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), text)
            return keys[turn:]
    raise ValueError("it is not signed, or its signature does not hold")


def entries(file, keys, signer):
    """Every entry of a chain with its hash, each after it was checked; once a later key signed, no earlier one does."""
    n, prev = 0, "0" * 64
    while line := file.readline(LONGEST_LINE):
        if not line.endswith(b"\n"):
            raise ValueError("it has no end, or is too long")
        entry = parse(line[:-1])
        if entry["n"] != n + 1 or entry["prev"] != prev:
            raise ValueError("it does not follow the line before it")
        if entry["type"] == "head":
            said = {name: value for name, value in entry["data"].items() if name != "signature"}
            if said.get("signer") != signer:
                raise ValueError("it is a head of another signer")
            keys = since(keys, entry["data"].get("signature"), "wardround ledger head 1", {**entry, "data": said})
        n, prev = entry["n"], hashlib.sha256(line[:-1]).hexdigest()
        yield entry, prev


def closing_heads(journal, keys, site):
    """The site's heads in a journal that the coordinator's signature covers, each with its study."""
    study, waiting, found = None, [], {}
    for entry, _ in entries(journal, keys, "coordinator"):
        study = str(entry["data"].get("study")) if entry["type"] == "study_started" else study
        if entry["type"] == "site_closed" and entry["data"].get("site") == site:
            waiting.append(entry["data"].get("head"))
        elif entry["type"] == "head":
            found, waiting = {**found, **dict.fromkeys(waiting, study)}, []
    return found


def receipted_heads(file, keys, site):
    """The site's heads in receipts that the coordinator signed, each with its study if the site put that away."""
    found = {}
    for said in map(json.loads, file):
        since(keys, said.pop("signature", None), "wardround receipt 1", said)
        if said["site"] == site and said["head"]:
            found[said["head"]["hash"]] = said["study"] if said["outcome"] == "closed" else None
    return found


def verdict(file, key, signer, held):
    """What may be said of a ledger; `held` maps each head that others hold to its study, or to None."""
    last, signed, anchor, study, carried, found, behind = 0, 0, 0, None, False, set(), 0
    try:
        for entry, digest in entries(file, [key], signer):
            last, data = entry["n"], entry["data"]
            signed = last if entry["type"] == "head" else signed
            closing = entry["type"] == "release" and data.get("kind") == "closed" and anchor == last - 1 > 0
            if digest in held:
                found.add(digest)
                anchor, study, carried, behind = last, held[digest], False, 0
            elif closing and study in (None, data.get("study")):
                carried = True
            elif anchor and entry["type"] != "head":
                behind += 1
    except ValueError as broken:
        return f"broken at line {last + 1}: {broken}"
    if not signed:
        return "unsigned" if last else "broken at line 1: there is no entry"
    whole = anchor and len(found) == len(held) and not behind and signed == last and (carried or study is None)
    return "consistent and anchored" if whole else "consistent, end not anchored"


if __name__ == "__main__":
    ledger, its_key, name, *others = sys.argv[1:]
    heads = dict.fromkeys(others) if len(others) == 1 else {}
    if len(others) > 1:
        with open(others[0], "rb") as stream:
            read = receipted_heads if stream.peek(8).startswith(b'{"head":') else closing_heads
            heads = read(stream, others[1:], name)
    with open(ledger, "rb") as stream:
        print(said := verdict(stream, its_key, name, heads))
    sys.exit(0 if said.startswith("consistent") else 4)
