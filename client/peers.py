"""The peers that a site believes in: other sites whose keys a person here has compared.

What a coordinator says of a cohort is its word: it could shrink one, or fill it with sites that are nobody's. A
person who has called another hospital and compared its fingerprint confirms it here; only the confirmed count
towards the policy's `peers_at_least`. A member of a cohort counts if

1. it stands in the cohort of the opening that the coordinator signed;
2. that opening gives it a fingerprint, and it is the confirmed one.

The opening is kept, so that a coordinator who gave a false fingerprint has signed it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from shared.durable import locked, write_atomically
from shared.errors import ConfigError
from shared.fields import Fingerprint, Name
from shared.section import Section
from shared.wire import Open

FILE_NAME = "peers.json"


class Confirmed(Section):
    """A peer's keys as a person confirmed them; `at` is RFC 3339."""

    fingerprint: Fingerprint
    by: Annotated[str, Field(max_length=100)]
    at: Annotated[str, Field(max_length=32)]


_PEERS: TypeAdapter[dict[Name, Confirmed]] = TypeAdapter(dict[Name, Confirmed])


def read_peers(folder: Path) -> dict[str, Confirmed]:
    """Whom a site has confirmed, by name.

    Raises:
        ConfigError: the file is damaged.
    """
    try:
        return dict(_PEERS.validate_json((folder / FILE_NAME).read_bytes()))
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError):
        raise ConfigError(
            f"{FILE_NAME} in the site's folder cannot be read as a list of peers.",
            remedy="Restore it from your backup, or move it away and confirm each peer again.",
        ) from None


def confirm(folder: Path, name: str, peer: Confirmed | None) -> None:
    """Write down that a person has compared a peer's keys, in the place of earlier ones; None forgets it.

    Raises:
        ConfigError: the file is damaged.
    """
    with locked(folder):
        peers = read_peers(folder)
        peers.pop(name, None)
        if peer is not None:
            peers[name] = peer
        said = {peer_name: peers[peer_name].model_dump() for peer_name in sorted(peers)}
        write_atomically(folder / FILE_NAME, json.dumps(said, indent=1).encode(), mode=0o600)


def believed(opening: Open, peers: Mapping[str, Confirmed], *, site: str) -> tuple[str, ...]:
    """Members of a cohort, other than the site itself, that count by the module's rules."""
    told = opening.fingerprints
    return tuple(
        name for name in opening.cohort if name != site and name in peers and told.get(name) == peers[name].fingerprint
    )
