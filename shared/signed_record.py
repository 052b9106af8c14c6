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

from shared.canonical import canonical
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, ProtocolError, TrustError
from shared.keys import VerifyKey
from shared.section import Section

LARGEST_RECORD = 64 << 10  # bytes; an invitation, a join request or an admission takes 1 to 4 KB
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
