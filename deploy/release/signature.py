"""The builder's signature under a bundle: an envelope around its checksums, kept without its body.

What is signed are the bytes that `shared/envelope.py` signs for the purpose `bundle`. Since purpose and signer are
always the same, so are the bytes before the checksums, and whoever has no Wardround yet verifies with openssl alone:
that is what `install.sh` does.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.envelope import open_envelope, seal

SIGNER, PURPOSE = "builder", "bundle"
SIGNATURE_BYTES = 64  # of Ed25519 (RFC 8032)


def sign_checksums(checksums: bytes, *, key: Ed25519PrivateKey) -> bytes:
    """The signature, 64 bytes."""
    envelope = seal(checksums, key=key, signer=SIGNER, purpose=PURPOSE)
    return envelope[len(envelope) - len(checksums) - SIGNATURE_BYTES :][:SIGNATURE_BYTES]


def verify_checksums(folder: Path, *, key: Ed25519PublicKey) -> None:
    """Check the signature of an unpacked bundle.

    Raises:
        TrustError: it does not hold.
    """
    checksums, signature = (folder / "SHA256SUMS").read_bytes(), (folder / "SHA256SUMS.sig").read_bytes()
    head = seal(b"", key=Ed25519PrivateKey.generate(), signer=SIGNER, purpose=PURPOSE)[:-SIGNATURE_BYTES]
    open_envelope(head + signature + checksums, keys={SIGNER: key}, purpose=PURPOSE)
