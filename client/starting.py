"""What a site's agent writes into the ledger when it starts, if that is news: its software, its keys, what commands
did, and what the budget's file is ahead by.

An entry `software` has the version, the digests of code and wheel, and the versions of what the work rests on. An entry
`keys` has the fingerprints of the site's own keys, of the coordinator's, and the digest of the CA certificates
that it trusts. So an auditor sees which software released what, and that a key or certificate was changed, and when. An
entry `tls_inspection` says whether somebody between site and server may read the line, and who.
"""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from client.join import load_enrolment
from client.line.way import Way
from client.receipts import LEDGER_FILE
from client.scratch import sweep
from client.site import Site
from client.software import Software
from client.waiting_entries import note_entries
from shared.canonical import digest
from shared.keys import fingerprint, identity_hex, transport_pem
from shared.ledger import read_types
from shared.remarks import remark
from shared.version import VERSION

RESTS_ON = ("cryptography", "dp-accounting", "flwr", "grpcio", "monai", "numpy", "opacus", "torch")
NO_INSPECTION = Way().inspectors()


def note_start(site: Site) -> None:
    """Write down what has changed since the site started last, or everything at its first start.

    Raises:
        DiskFull: it cannot be written down.
    """
    sweep(site.folder)
    site.purse.catch_up()
    inspectors = site.way.inspectors()
    news = {"software": software_of(site.software), "keys": keys_of(site.folder), "tls_inspection": inspectors}
    before = {"tls_inspection": NO_INSPECTION}
    before |= {entry.type: entry.data for entry in read_types(site.folder / LEDGER_FILE, news)}
    for entry, said in news.items():
        if before.get(entry) != said:
            site.ledger.append(entry, said, time=site.now())
    if inspectors["accepted"]:
        site.say(
            remark(
                "TLS inspection is accepted: {whose} can read all that this line carries.",
                level="warning",
                whose=", ".join(inspectors["authorities"]),
            )
        )
    note_entries(site.folder, site.ledger, time=site.now())


def software_of(software: Software) -> dict[str, Any]:
    """The entry about the software."""
    found = {name: _version(name) for name in RESTS_ON}
    packages = {"python": platform.python_version()} | {name: known for name, known in found.items() if known}
    return {"version": VERSION, **software.model_dump(), "packages": packages}


def keys_of(folder: Path) -> dict[str, Any]:
    """The entry about the keys of the site in `folder`; fingerprints are those that people compare.

    Raises:
        ConfigError, TrustError: as `load_enrolment`.
    """
    enrolment = load_enrolment(folder)
    transport, identity = enrolment.transport_key.public_key(), enrolment.identity_key.public_key()
    return {
        "fingerprint": fingerprint(transport_pem(transport), identity_hex(identity)),
        "coordinator_fingerprint": enrolment.coordinators.fingerprint(),
        "ca_certificate": digest(enrolment.reach.ca_pem),
    }


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
