"""A record that carries its own signature: one line of JSON that a person can read.

`signature` is the hex of an envelope (`shared/envelope.py`) without its body; the body is every other
field, in canonical form. So whatever holds of an envelope holds of the record, nothing is said twice, and a
record that was signed for one purpose does not pass for another.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field
from pydantic_core import from_json

from shared.canonical import canonical
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, ProtocolError, TrustError
from shared.keys import VerifyKey
from shared.section import Section

LARGEST_RECORD = 64 << 10  # bytes; an invitation, a join request or an admission takes 1 to 4 KB
# by which field a record is told from the others that people send each other, the first that is there
_TOLD_BY = {
    "token": "invitation",
    "possession": "join request",
    "authorities": "admission",
    "coordinator_key": "key card",
    "lead": "mandate",
    "mandates": "list of mandates",
    "key": "coordinator's request",
    "prev": "ledger or journal",
}
Signature = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){64,256}$", repr=False)]


def sign_record(said: Mapping[str, Any], *, key: Ed25519PrivateKey, signer: str, purpose: str) -> bytes:
    """What is said, with `signature`, in canonical form.

    Args:
        said: all fields but the signature, as JSON values.
        key: the signer's identity key.
        signer: a site's name, or ``coordinator``.
        purpose: what the record is, in the words of its reader, such as ``invitation``.
    """
    body = canonical(said)
    sealed = seal(body, key=key, signer=signer, purpose=purpose)
    return canonical({**said, "signature": sealed.removesuffix(body).hex()})


def check_signature(record: Section, *, key: VerifyKey, signer: str, purpose: str) -> None:
    """Hold a record against its signature; arguments as `sign_record`.

    Raises:
        ProtocolError: it was signed in another format.
        TrustError: somebody else signed it, or something else was signed.
    """
    said = record.model_dump(mode="json")
    head = bytes.fromhex(said.pop("signature"))
    try:
        open_envelope(head + canonical(said), keys={signer: key}, purpose=purpose)
    except ProtocolError:
        raise
    except TrustError:
        raise TrustError(
            f"The {purpose} was changed after it was signed, or somebody else signed it.",
            remedy="Ask its sender to send it again, by a way that you both trust.",
        ) from None


def read_file(path: Path, what: str, *, limit: int = LARGEST_RECORD) -> bytes:
    """As much of a file as `bounded` looks at.

    Args:
        path: the file.
        what: how its reader is told to name it, such as ``join request``.
        limit: bytes beyond which its reader refuses it.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}).", remedy=f"Name the {what}.") from None


def read_sent(path: Path, *kinds: str, limit: int = LARGEST_RECORD) -> bytes:
    """As `read_file`, of a file that a person names, who may have taken another.

    Raises:
        ConfigError: it cannot be read, or is of none of the kinds (`insist_on_kind`).
    """
    data = read_file(path, kinds[0], limit=limit)
    insist_on_kind(data, path, *kinds)
    return data


def insist_on_kind(data: bytes, path: Path | str, *kinds: str) -> None:
    """Tell a file of another kind from a record that was damaged, which its own reader refuses.

    Args:
        data: the file's bytes, of which nothing is believed.
        path: the file, as it was named.
        kinds: what it may be, such as ``invitation``; the first is what is asked for.

    Raises:
        ConfigError: it is something else.
    """
    wanted = kinds[0]
    is_object, found = _kind_of(data)
    if found in kinds or (is_object and found is None):
        return
    raise ConfigError(
        f"{path} is {_one(found)}; {_one(wanted)} is wanted." if found else f"{path} is no {wanted}.",
        remedy=f"Name the file with the {wanted}.",
    )


def _kind_of(data: bytes) -> tuple[bool, str | None]:
    """Whether it looks like a JSON object that is cut or damaged; and what it is, if that can be told."""
    if not data.startswith(b"{"):
        return False, None
    for text in (data, data.partition(b"\n")[0]):
        try:
            fields = from_json(text)
        except (ValueError, RecursionError):
            continue
        return "protocol" in fields, next((kind for field, kind in _TOLD_BY.items() if field in fields), None)
    return True, None


def _one(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def bounded(data: bytes, what: str) -> bytes:
    """The bytes of a record, if they are few enough to be looked at.

    Raises:
        TrustError: they are not.
    """
    if len(data) > LARGEST_RECORD:
        raise TrustError(
            f"The {what} has {len(data)} bytes; at most {LARGEST_RECORD} are read.",
            remedy="Check that this is the file that was sent.",
        )
    return data
