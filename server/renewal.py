"""Renewal: the server's certificate is issued anew before, or after, it ends.

The server's key, its names and the authority stay, so that the sites notice nothing. One file is
replaced; a server that runs shows the old certificate until it is started again.
"""

from pathlib import Path

from server.authority import certificate_pem, issue_server, read_authority
from server.federation import existing_federation, load_federation
from shared.certificates import ends_at
from shared.durable import locked, write_atomically
from shared.errors import TrustError
from shared.keys import load_transport_key


def renew_server_certificate(folder: Path, *, now: int) -> int:
    """Replace the server's certificate by a new one from the federation's authority.

    Args:
        folder: the federation folder.
        now: Unix seconds.

    Returns:
        When the new one ends, Unix seconds.

    Raises:
        ConfigError: the folder is no federation folder.
        TrustError: a key is missing or exposed, or the authority itself has ended or cannot be read.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        root = _root(federation.ca_certificate, now=now)
        authority_key = load_transport_key(folder / "ca" / "key.pem", role="authority's key")
        public_key = load_transport_key(federation.server_key, role="server's key").public_key()
        host = federation.settings.host
        pem = certificate_pem(issue_server(read_authority(root), authority_key, public_key, host=host, now=now))
        write_atomically(federation.server_certificate, pem)
        return int(ends_at(pem))


def _root(path: Path, *, now: int) -> bytes:
    """The authority's certificate, if it can still issue."""
    try:
        pem = path.read_bytes()
        ended = ends_at(pem) <= now
    except (OSError, ValueError):
        raise TrustError(
            "The authority's certificate cannot be read.", remedy="Restore ca/certificate.pem from your backup."
        ) from None
    if ended:
        raise TrustError(
            "The federation's authority itself has ended.", remedy="Found a new federation and invite the sites to it."
        )
    return pem
