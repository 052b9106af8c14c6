"""The authority's files in a federation folder, while one authority takes the other's place and otherwise.

    ca/key.pem   ca/certificate.pem     the authority that issues
    ca/next/     key.pem certificate.pem   one that is coming: trusted, and issues nothing yet
    ca/old.pem   ca/old-key.pem         one that is going: trusted, and issues nothing but its list of the revoked

Two files cannot be replaced at once; a change of authority that was cut short is finished by who next needs
the key.
"""

import shutil
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

from server.membership.authority import certificate_pem, issue_authority, read_authority, revocation_list
from server.membership.revoked import revoked_serials
from shared.certificates import ends_at
from shared.durable import fsync_folder, rename_durably, write_atomically
from shared.errors import TrustError
from shared.keys import load_transport_key, make_transport_key, save_key

ROLE = "authority's key"
_PART = ".next.part"


def load_authority(folder: Path, *, now: int) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    """The authority that issues, and its key.

    Args:
        folder: the federation folder.
        now: Unix seconds.

    Raises:
        TrustError: a file is missing or exposed, they do not belong together, or the authority has ended.
    """
    _finish_change(folder / "ca")
    key = load_transport_key(folder / "ca" / "key.pem", role=ROLE)
    try:
        pem = (folder / "ca" / "certificate.pem").read_bytes()
        certificate, ended = read_authority(pem), ends_at(pem) <= now
    except (OSError, ValueError):
        raise TrustError(
            "The authority's certificate cannot be read.", remedy="Restore ca/certificate.pem from your backup."
        ) from None
    if ended:
        raise TrustError(
            "The federation's authority itself has ended.", remedy="Found a new federation and invite the sites to it."
        )
    if certificate.public_key() != key.public_key():
        raise TrustError(
            "The authority's key is not the one in its certificate.", remedy="Restore the folder ca/ from your backup."
        )
    return certificate, key


def bring_next(folder: Path, *, name: str, now: int) -> None:
    """Make the authority that is coming, unless it is there."""
    ca = folder / "ca"
    if (ca / "next").exists():
        return
    part = ca / _PART
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700)
    key = make_transport_key()
    save_key(part / "key.pem", key)
    write_atomically(part / "certificate.pem", certificate_pem(issue_authority(key, name=name, now=now)))
    rename_durably(part, ca / "next")


def change(folder: Path, *, now: int) -> None:
    """Let the authority that is coming issue from now on; the other one stays trusted, and revokes."""
    ca = folder / "ca"
    _, key = load_authority(folder, now=now)
    save_key(ca / "old-key.pem", key)
    write_atomically(ca / "old.pem", (ca / "certificate.pem").read_bytes())
    write_atomically(ca / "certificate.pem", (ca / "next" / "certificate.pem").read_bytes())
    _finish_change(ca)


def revocation_lists(folder: Path, *, now: int) -> bytes:
    """Of the authority that issues, and of one that is going, the list (PEM) of the certificates that are void.

    Raises:
        TrustError: as `load_authority`; or the key of the one that is going is missing or exposed.
    """
    serials = revoked_serials(folder)
    authority, key = load_authority(folder, now=now)
    lists, going = revocation_list(authority, key, serials, now=now), folder / "ca" / "old.pem"
    if not going.is_file() or ends_at(pem := going.read_bytes()) <= now:  # who shows a certificate of it is expired
        return lists
    key = load_transport_key(folder / "ca" / "old-key.pem", role=f"old {ROLE}")
    return lists + revocation_list(read_authority(pem), key, serials, now=now)


def drop_old(folder: Path) -> None:
    """Trust the authority that is going no more."""
    for name in ("old-key.pem", "old.pem"):  # without the second, nobody would look for the first
        (folder / "ca" / name).unlink(missing_ok=True)
    fsync_folder(folder / "ca")


def _finish_change(ca: Path) -> None:
    """The certificate's key takes its place once the certificate has; else nothing is to be done.

    A file that is missing in the folder went when the folder did, and that is once both have taken their places.
    """
    coming, part = ca / "next", ca / _PART
    if not coming.is_dir():
        return
    certificate, key = coming / "certificate.pem", coming / "key.pem"
    if certificate.is_file() and key.is_file():
        if certificate.read_bytes() != (ca / "certificate.pem").read_bytes():
            return
        save_key(ca / "key.pem", load_transport_key(key, role=ROLE))
    shutil.rmtree(part, ignore_errors=True)
    rename_durably(coming, part)
    shutil.rmtree(part)
    fsync_folder(ca)
