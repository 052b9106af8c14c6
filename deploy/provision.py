"""A whole federation on one machine: for the demo, benchmarks and tests.

Takes the very steps that a coordinator and its hospitals take (init, invite, join, admit), in one
process and without the telephone call in which they compare fingerprints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.join import join
from server.federation import create_federation
from server.membership.enrolment import admit, invite
from shared.durable import write_atomically


@dataclass(frozen=True)
class Provisioned:
    """Where everything lies: the federation folder, and each site's folder by its name."""

    federation: Path
    sites: Mapping[str, Path]


def provision(
    root: Path,
    *,
    name: str,
    host: str,
    fleet_port: int,
    sites: Sequence[str],
    now: int,
    patient_salt: str | None = None,
) -> Provisioned:
    """Found a federation and let every site join it.

    Args:
        root: gets `federation/` and `sites/NAME/`.
        name: the federation's name.
        host: host name or IP address that the sites dial.
        fleet_port: TCP port that the sites dial.
        sites: their names.
        now: Unix seconds.
        patient_salt: 32 bytes in hex, so that the same patients are test patients each time; a
            federation of real patients draws its own.

    Raises:
        ConfigError: a name, the host or the port is not allowed, or `root` holds a federation already.
    """
    federation = root / "federation"
    create_federation(federation, name=name, host=host, fleet_port=fleet_port, now=now)
    if patient_salt is not None:
        write_atomically(federation / "salt", patient_salt.encode(), mode=0o600)
    folders = {site: root / "sites" / site for site in sites}
    for site, folder in folders.items():
        request = join(invite(federation, site, now=now), folder, now=now)
        admit(federation, request.read_bytes(), now=now)
    return Provisioned(federation, folders)
