"""A model package: a folder whose manifest the coordinator signed, and the rules for believing what lies in it.

    DIR/manifest.json     the SHA-256 and length of every other file but the next
    DIR/manifest.sig      an envelope (`shared/envelope.py`) whose body is manifest.json, to the byte
    DIR/...               the model (safetensors), its card, and what the format adds

A package is believed if, in this order:

1. the signature is the coordinator's, for this purpose, over that very manifest;
2. the manifest is in its form, and its paths lead nowhere but into the folder;
3. every file that it names is there with that length and digest, and no other file or link is: a further one could be
   taken for a part of the model, and a link leads to what nobody signed;
4. the card is in its form and names the model file that lies here.

Nothing of a package is used before all four hold. No file in it is code or is unpickled.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from shared.canonical import canonical
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, TrustError
from shared.fields import Digest, Name
from shared.identity import COORDINATOR, read_record
from shared.keys import VerifyKey
from shared.model_card import ModelCard
from shared.section import Section

PURPOSE = "model package 1"
MANIFEST, SIGNATURE, CARD = "manifest.json", "manifest.sig", "model-card.json"
Format = Literal["safetensors", "monai-bundle", "onnx"]
Inside = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}(/[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}){0,3}$")]
_MOST = {MANIFEST: 1 << 20, CARD: 8 << 20}  # bytes
_AGAIN = "Ask the coordinator for the whole package again, and change nothing in it."


class Listed(Section):
    """One file of a package."""

    sha256: Digest
    bytes: Annotated[int, Field(ge=0, le=2**40)]


class Manifest(Section):
    """`manifest.json`: what the package is, which of its files is the model, and every file by its path inside."""

    version: Literal[1] = 1
    format: Format
    study: Name
    model: Inside
    files: dict[Inside, Listed]


class Package(NamedTuple):
    """A package that is believed."""

    manifest: Manifest
    card: ModelCard
    model: Path


def sign_manifest(manifest: Manifest, *, key: Ed25519PrivateKey) -> dict[str, bytes]:
    """The two files of a manifest, by name."""
    body = canonical(manifest.model_dump(mode="json"))
    return {MANIFEST: body, SIGNATURE: seal(body, key=key, signer=COORDINATOR, purpose=PURPOSE)}


def open_package(folder: Path, *, coordinator: VerifyKey) -> Package:
    """Check a package by the module's rules.

    Raises:
        ConfigError: there is no package.
        TrustError: a rule does not hold.
    """
    # 1. signature
    body, sealed = (_read(folder / name) for name in (MANIFEST, SIGNATURE))
    if open_envelope(sealed, keys={COORDINATOR: coordinator}, purpose=PURPOSE).body != body:
        raise TrustError(f"{MANIFEST} is not the one that the coordinator signed.", remedy=_AGAIN)
    # 2. manifest
    manifest = read_record(Manifest, body, "manifest of the model")
    if not {manifest.model, CARD} <= manifest.files.keys():
        raise TrustError("The manifest names no model or no card.", remedy=_AGAIN)
    # 3. files
    if any(_links(folder)):
        raise TrustError("The package holds a link instead of a file or folder.", remedy=_AGAIN)
    for name, listed in manifest.files.items():
        if _look(folder / name) != listed:
            raise TrustError(f"{name} is missing or is another file than was signed.", remedy=_AGAIN)
    if foreign := sorted(set(_names(folder)) - manifest.files.keys() - {MANIFEST, SIGNATURE}):
        raise TrustError(
            f"The package holds {len(foreign)} files that were not signed, the first at {foreign[0][:100]!r}.",
            remedy="Move them out of the folder.",
        )
    # 4. card
    card = _card(folder / CARD)
    if card.weights.sha256 != manifest.files[manifest.model].sha256:
        raise TrustError("The card is of another model than the one beside it.", remedy=_AGAIN)
    return Package(manifest, card, folder / manifest.model)


def listed(data: bytes) -> Listed:
    """A file's line in a manifest, from its content."""
    return Listed(sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MOST[MANIFEST])
    except OSError as error:
        raise ConfigError(
            f"There is no {path.name} to read in {path.parent} ({error.strerror}).",
            remedy="Name the folder that `wardround study export` wrote, with all its files.",
        ) from None


def _look(path: Path) -> Listed | None:
    try:
        with path.open("rb") as file:
            return Listed(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=os.fstat(file.fileno()).st_size)
    except OSError:
        return None


def _names(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names)


def _links(folder: Path) -> Iterator[bool]:
    for parent, folders, names in os.walk(folder):
        yield from (Path(parent, name).is_symlink() for name in (*folders, *names))


def _card(path: Path) -> ModelCard:
    if path.stat().st_size > _MOST[CARD]:
        raise TrustError("The card is larger than any card.", remedy=_AGAIN)
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except ValidationError:
        raise TrustError(
            "The card has fields that this software does not know.",
            remedy="Install the Wardround version that exported the model, or export it anew.",
        ) from None
