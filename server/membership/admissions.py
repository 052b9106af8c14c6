"""Admissions at the coordinator: the newest of each site, and which one the site has taken.

    admissions/SITE.json    as `shared/admission.py` says; may be sent to the site as a file
    admissions/SITE.taken   the number of the one that the site has answered with

Whoever changes an address, an authority or the roster issues them anew; a study's messages carry them to the
sites that have not taken them (`server/desk.py`).
"""

import contextlib
import json
from pathlib import Path
from typing import Any

from server.federation import Federation
from server.membership.authority import certificate_pem, issue_site
from server.membership.authority_files import load_authority
from server.membership.revoked import note_issued, revoke_serials
from shared.admission import Access, make_admission
from shared.durable import write_atomically
from shared.identity import RosterEntry
from shared.keys import read_transport_pem


def issue_admission(federation: Federation, entry: RosterEntry, *, now: int) -> Path:
    """Certify a site's key for as long as its entry is valid, and write down how it reaches the federation.

    Args:
        federation: as it is to be reached from now on.
        entry: the site's place on the roster.
        now: Unix seconds.

    Returns:
        The file, which takes the place of an earlier one.

    Raises:
        TrustError: the authority's key is missing or exposed, or the authority has ended.
    """
    authority, authority_key = load_authority(federation.folder, now=now)
    key = read_transport_pem(entry.transport_key)
    certificate = issue_site(authority, authority_key, key, site=entry.site, now=now, until=entry.not_after)
    note_issued(federation.folder, entry.site, certificate.serial_number)
    path = admission_path(federation.folder, entry.site)
    access = Access(
        federation=federation.settings.name,
        site=entry.site,
        number=max(now, _number(path) + 1),
        host=federation.settings.host,
        fleet_port=federation.settings.fleet_port,
        authorities=federation.trusted(),
        certificate=certificate_pem(certificate).decode(),
    )
    write_atomically(path, make_admission(access, key=federation.coordinator_key))
    return path


def forget_admission(folder: Path, site: str) -> None:
    """Who is off the roster reaches the federation no more, and its certificates are void."""
    revoke_serials(folder, site)
    for path in (admission_path(folder, site), _taken_path(folder, site)):
        path.unlink(missing_ok=True)


def admission_sites(folder: Path) -> frozenset[str]:
    """The sites of which an admission, or the numbers of certificates, lie here."""
    return frozenset(path.stem for path in (folder / "admissions").glob("*") if path.suffix in (".json", ".serials"))


def has_taken(federation: Federation, site: str) -> bool:
    """Whether the site has answered with the newest admission."""
    return _number(admission_path(federation.folder, site)) == _taken(federation.folder, site)


def is_current(federation: Federation, site: str) -> bool:
    """Whether the site's newest admission names the authorities that are trusted now."""
    return _said(admission_path(federation.folder, site)).get("authorities") == federation.trusted()


class Admissions:
    """Of one federation, what its studies' messages carry.

    Args:
        folder: the federation folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pending(self, site: str) -> str | None:
        """The site's newest admission, unless it has taken it or there is none."""
        path = admission_path(self._folder, site)
        if not (number := _number(path)) or number == _taken(self._folder, site):
            return None
        return path.read_text()

    def taken(self, site: str, admission: str) -> None:
        """The site has answered a message that carried this admission."""
        number = int(json.loads(admission)["number"])
        if admission_path(self._folder, site).is_file():
            write_atomically(_taken_path(self._folder, site), str(number).encode())


def _number(path: Path) -> int:
    """Of an admission that lies here; 0 if there is none."""
    return int(_said(path).get("number", 0))


def _said(path: Path) -> dict[str, Any]:
    """What an admission of ours says; nothing if there is none."""
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return {}


def _taken(folder: Path, site: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(_taken_path(folder, site).read_text())
    return 0


def admission_path(folder: Path, site: str) -> Path:
    """Where the site's newest admission lies, if it has one."""
    return folder / "admissions" / f"{site}.json"


def _taken_path(folder: Path, site: str) -> Path:
    return folder / "admissions" / f"{site}.taken"
