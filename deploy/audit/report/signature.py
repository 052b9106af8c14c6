"""The page's signature: a file beside it, that who has the page and a public key can check.

It is an envelope of `shared/envelope.py` for the purpose `PURPOSE`, whose body is the canonical JSON
`{"bytes", "made", "sha256"}` of the page. It holds for the page as a file, to the byte.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from deploy.audit.keys import Signer
from shared.canonical import canonical, digest, parse_canonical
from shared.envelope import open_envelope, seal
from shared.errors import ConfigError, TrustError

PURPOSE = "wardround audit report 1"
AUDITOR = "auditor"
_LARGEST = 256 << 20  # bytes of a page
_LARGEST_SIGNATURE = 4096


def signature_beside(page: Path) -> Path:
    """Where the signature of a page lies."""
    return page.with_name(f"{page.name}.sig")


def sign_page(page: bytes, *, key: Ed25519PrivateKey, signer: str, made: str) -> bytes:
    """The signature of a page, made at a time (RFC 3339, UTC)."""
    said = {"bytes": len(page), "made": made, "sha256": digest(page)}
    return seal(canonical(said), key=key, signer=signer, purpose=PURPOSE)


def check_page(page: Path, signer: Signer) -> str:
    """When the page was signed, by the signer's word.

    Raises:
        ConfigError: page or signature cannot be read.
        TrustError: the signature is not the signer's, or is of another page.
    """
    data = _read(page, _LARGEST)
    sealed = _read(signature_beside(page), _LARGEST_SIGNATURE)
    said = parse_canonical(open_envelope(sealed, keys={signer.name: signer.key}, purpose=PURPOSE).body)
    if not isinstance(said, dict) or (said.get("sha256"), said.get("bytes")) != (digest(data), len(data)):
        raise TrustError(
            f"{page.name} is not the page that {signer.name} signed.", remedy="Ask its maker for the page again."
        )
    return str(said.get("made"))


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except OSError as error:
        raise ConfigError(
            f"There is no file to read at {path} ({error.strerror}).",
            remedy="Name the page; its signature lies beside it, under the same name with .sig at its end.",
        ) from None
