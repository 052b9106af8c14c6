"""Did every release conform? What a site's ledger says of each study, held against what was agreed in it.

A release conforms if

1. it says where it belongs, its kind, its bytes, its digests and its contract, each in its form;
2. an entry before it made that contract in the same study; only a refusal may leave without one;
3. it has at least a byte, and without an update no more than a message may have;
4. a finished round follows a model that was received, and under one contract rounds do not go back (late
   work leaves in a round that brought no new model);
5. after a study was closed nothing leaves but the closing answer and refusals, until it is opened anew;
6. after the end that its contract has nothing else leaves either, by the site's own clock;
7. of answers that say "not yet" again no more leave than the entry before announced, none too large for a message.

The contract's own numbers (tensors, most bytes, most rounds) are not in the ledger, only its digest; that
the site held each release against them at its door is the site's word. Pure; nothing is read here.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeGuard

from shared.chain import Entry

_MESSAGE_BYTES = 8 << 20  # the largest envelope that a reader opens
_DIGEST = re.compile(r"[0-9a-f]{64}")
_WORK = {"ready", "uploaded"}  # kinds of release that answer a round


@dataclass
class StudyAccount:
    """What left a site in one study, so far.

    Attributes:
        closed: whether it was put away, and not opened again since.
        releases, bytes: all of them, refusals and closing answers too; message and update together.
        updates: those among them that an update travelled with.
        refused: the site's own refusals among them, and what its door held back.
        last_round: the highest round that a finished round was released for, under the contract in force.
        receipts: the coordinator's words on finished rounds, by outcome.
        announced: how many more answers that say "not yet" may leave.
    """

    contracts: set[str] = field(default_factory=set)
    closed: bool = False
    received: bool = False  # whether a model came; a round that was stopped is resumed without a new one
    releases: int = 0
    bytes: int = 0
    updates: int = 0
    refused: int = 0
    last_round: int = 0
    receipts: Counter[str] = field(default_factory=Counter)
    announced: int = 0


class Releases:
    """The rules above, held over a ledger's entries one after the other; memory grows with studies alone."""

    def __init__(self) -> None:
        self.studies: dict[str, StudyAccount] = {}
        self._ends: dict[str, datetime] = {}  # by contract, of those that name one

    def follow(self, entry: Entry) -> str | None:
        """Take the next entry; the rule that it breaks, in words, or None."""
        said = entry.data
        study = said.get("study")
        take = _TAKEN.get(entry.type)
        if take is None or (entry.type == "release_refused" and study is None):
            return None
        if not isinstance(study, str):
            return f"the {entry.type} does not say of which study it is"
        account = self.studies.setdefault(study, StudyAccount())
        return take(account, said) or self._past_end(entry)

    def _past_end(self, entry: Entry) -> str | None:
        said, contract = entry.data, str(entry.data.get("contract"))
        if entry.type == "contract" and "expires" in said:
            if (end := _moment(said["expires"])) is None:
                return "the contract's end is no time"
            self._ends[contract] = end
        ended = entry.type == "release" and said["kind"] not in ("closed", "refused") and contract in self._ends  # 6
        if ended and ((left := _moment(entry.time)) is None or left >= self._ends[contract]):
            return "the release left after the end of its contract"
        return None


def _contract(account: StudyAccount, said: dict[str, Any]) -> str | None:
    if not _is_digest(said.get("contract")):
        return "the contract has no digest"
    if account.closed or said["contract"] not in account.contracts:
        account.closed, account.last_round = False, 0
    account.contracts.add(said["contract"])
    return None


def _model(account: StudyAccount, said: dict[str, Any]) -> None:
    account.received = True


def _closed(account: StudyAccount, said: dict[str, Any]) -> None:
    account.closed = True


def _held_back(account: StudyAccount, said: dict[str, Any]) -> None:
    account.refused += 1


def _receipt(account: StudyAccount, said: dict[str, Any]) -> None:
    outcome = said.get("outcome")
    account.receipts[outcome if outcome in ("counted", "refused", "late") else "other"] += 1


def _again(account: StudyAccount, said: dict[str, Any]) -> str | None:
    if not _is_count(said.get("most")):
        return "answers are announced without their number"
    account.announced = said["most"]
    return None


def _repeated(account: StudyAccount, said: dict[str, Any]) -> str | None:
    count, size, most = said.get("count"), said.get("bytes"), account.announced
    if not (_is_count(count) and _is_count(size)):
        return "answers left without their number, or their bytes"
    account.releases += count
    account.refused += count
    account.bytes += size
    account.announced = 0
    if count > most:
        return f"{count} answers left, and {most} were announced"
    return None if count <= size <= count * _MESSAGE_BYTES else f"{count} answers of {size} bytes cannot be"


def _release(account: StudyAccount, said: dict[str, Any]) -> str | None:
    if not _whole(said):  # 1
        return "the release lacks a field, or has one in another form"
    fault = _fault(account, said)
    account.releases += 1
    account.bytes += said["bytes"]
    account.updates += said["update_digest"] is not None
    account.refused += said["kind"] == "refused"
    if said["kind"] in _WORK:
        account.last_round = max(account.last_round, said["round"])
    return fault


def _fault(account: StudyAccount, said: dict[str, Any]) -> str | None:
    kind, contract, update, size = said["kind"], said["contract"], said["update_digest"], said["bytes"]
    back = kind in _WORK and said["round"] < account.last_round
    rules = {
        "the release names no contract": contract is not None or kind == "refused",  # 2
        "the release names a contract that no entry before it made": contract is None or contract in account.contracts,
        f"a release of {size} bytes cannot be": size >= 1 and (update is not None or size <= _MESSAGE_BYTES),  # 3
        "an update left with a message that is no answer to a round": update is None or kind in _WORK,
        "the finished round follows no model that was received": kind not in _WORK or account.received,  # 4
        f"round {said['round']} left after round {account.last_round}": not back,
        "the release left after the study was closed": not account.closed or kind in ("closed", "refused"),  # 5
    }
    return next((fault for fault, holds in rules.items() if not holds), None)


_TAKEN: dict[str, Callable[[StudyAccount, dict[str, Any]], str | None]] = {
    "contract": _contract,
    "rehearsal": _contract,  # one of its own, under a name of its own
    "model_received": _model,
    "release": _release,
    "release_again": _again,
    "release_repeated": _repeated,
    "release_refused": _held_back,
    "receipt": _receipt,
    "study_closed": _closed,
    "rehearsal_ended": _closed,
}


def _whole(said: dict[str, Any]) -> bool:
    digests = [
        said.get("body_digest"),
        *(d for d in (said.get("update_digest"), said.get("contract")) if d is not None),
    ]
    return (
        {"update_digest", "contract"} <= said.keys()
        and all(map(_is_digest, digests))
        and all(isinstance(said.get(name), str) for name in ("stage", "kind"))
        and all(_is_count(said.get(name)) for name in ("round", "bytes"))
    )


def _moment(text: object) -> datetime | None:
    """A time, if it is one: a site could write down the 31st of February."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0
