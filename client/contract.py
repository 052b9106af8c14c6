"""Does a release conform to the contract? Pure checks, one after the other; nothing is sent here.

Rules, in the order in which they are applied:

1. The contract is in force: after its end nothing leaves but a refusal, and the word that the study is put away.
2. The message is of a type that a site may send at its stage, belongs to the contract's study, and its
   round has a place there (a refusal, which says nothing but a code, may answer any round). Whatever it
   says has the form that its type promises: it reads back as what was said.
3. An opening and a report say what `shared/contract.py` allows, for both sides; and what a rehearsal says
   is what `shared/rehearsal_contract.py` allows.
4. A payload is announced by its exact SHA-256 and size, and is not larger than agreed.
5. The payload holds exactly the agreed tensors: names, dtypes, shapes.
6. Every value of the payload is finite.
"""

import hashlib
from pathlib import Path

import numpy as np

from shared.canonical import canonical
from shared.contract import Contract, opening_fault, report_fault
from shared.errors import Refusal, TrustError, WireCode
from shared.rehearsal_contract import rehearsal_fault
from shared.update import PackedFile
from shared.wire import Closed, Message, Opened, Ready, Refused, Rehearsed, Uploaded, decode_to_server, has_place

MAY_LEAVE = (Opened, Ready, Uploaded, Closed, Rehearsed, Refused)


class NotFinite(Refusal):
    """Rule 6 does not hold."""


def check_release(contract: Contract, message: Message, payload: Path | None) -> bytes:
    """Hold one outgoing message against the contract, by all rules but the first.

    Returns:
        The body that was checked.

    Raises:
        Refusal: with `WireCode.CONTRACT` and, as remedy, the rule that was broken.
    """
    _check_place(contract, message)  # 2
    if isinstance(message, Rehearsed) and (fault := rehearsal_fault(contract, message)):  # 3
        raise _broken(fault)
    body = check_form(message)  # 2, before figures are compared
    if fault := _words_fault(contract, message):  # 3
        raise _broken(fault)
    if payload is not None:
        _check_announced(contract, message, payload)  # 4
        check_payload(contract, payload)  # 5, 6
    return body


def check_in_force(contract: Contract, message: Message, *, now: str) -> None:
    """Rule 1 at a time (RFC 3339); a contract that no site has agreed to, as that of a rehearsal, has no end.

    Raises:
        Refusal: `CONTRACT_EXPIRED`.
    """
    if contract.terms is None or isinstance(message, Refused | Closed):
        return
    if contract.terms.run_out(now):
        end = contract.terms.expires
        raise Refusal(
            WireCode.CONTRACT_EXPIRED,
            remedy=f"Nothing was released: the contract ended on {end}. Another opening of the study makes a new one.",
        )


def check_form(message: Message) -> bytes:
    """The second half of rule 2: types are checked where a message is built, and again where it leaves.

    Returns:
        The body that was checked: canonical bytes, as they are to be signed.

    Raises:
        Refusal: a field holds what its type does not allow.
    """
    try:
        body = canonical(message.model_dump(mode="json", warnings="none"))
        decode_to_server(body)
    except (TrustError, ValueError):
        raise _broken("the message says something that its type does not allow") from None
    return body


def check_payload(contract: Contract, payload: Path) -> None:
    """Rules 5 and 6 for a packed update; one tensor in memory at a time.

    Raises:
        Refusal: other tensors than agreed, or a value that is not finite.
    """
    try:
        packed = PackedFile(payload)
        if packed.table() != contract.tensors:
            raise _broken("the update's tensors are not the agreed ones")
    except (TrustError, ValueError):
        raise _broken("the update is not a sound tensor file") from None
    for name, _, values in packed.pieces():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise NotFinite(
                WireCode.CONTRACT, remedy=f"Nothing was released: the update's tensor {name} is not finite."
            )


def sha256_of(path: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_place(contract: Contract, message: Message) -> None:
    if type(message) not in MAY_LEAVE:  # a subtype could say more
        raise _broken("a site does not send messages of this type")
    if message.address.study != contract.study:
        raise _broken("the message belongs to another study")
    if not isinstance(message, Refused) and not contract.allows(message.address.stage, message.address.round):
        raise _broken("the round is beyond the agreed number, or not the one of the closing trip")
    if not has_place(message):
        raise _broken("a message of this type is not sent at this stage")


def _words_fault(contract: Contract, message: Message) -> str | None:
    if isinstance(message, Opened):
        return opening_fault(contract, message)
    return report_fault(contract, message) if isinstance(message, Ready) else None


def _check_announced(contract: Contract, message: Message, payload: Path) -> None:
    size = payload.stat().st_size
    if size > contract.payload_bytes:
        raise _broken("the update is larger than agreed")
    if not isinstance(message, Ready | Uploaded):
        raise _broken("only a finished round may carry an update")
    if message.update_bytes != size or message.update_digest != sha256_of(payload):
        raise _broken("the update differs from what the message announces")


def _broken(rule: str) -> Refusal:
    return Refusal(WireCode.CONTRACT, remedy=f"Nothing was released: {rule}.")
