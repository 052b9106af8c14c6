"""Renewal: certificates are issued anew before, or after, they end; no site is invited again, no study lost.

The keys of the server and of the sites stay. A server that runs notices the new files: it starts the SuperLink
with them between two rounds (`server/engine/renewed.py`), and the studies' messages bring the sites their admissions.

An authority takes another's place in three steps, so that at no time a site meets a server that it does not
trust. Each step issues every site's admission anew, and each but the first waits until all sites have taken
the last one:

1. *coming*: the sites trust both; the old one issues.
2. *going*: the new one issues, the server's certificate too; the sites still trust both.
3. *gone*: the sites trust the new one alone.
"""

from collections.abc import Sequence, Set
from enum import StrEnum
from pathlib import Path

from server.federation import Federation, existing_federation, load_federation
from server.membership.admissions import has_taken, is_current, issue_admission
from server.membership.authority import certificate_pem, issue_server
from server.membership.authority_files import bring_next, change, drop_old, load_authority
from server.membership.enrolment import ENTRY_DAYS, replace_roster
from shared.certificates import DAY_S, ends_at, is_issued_by
from shared.durable import locked, write_atomically
from shared.errors import StudyError
from shared.identity import RosterEntry
from shared.keys import load_transport_key


class Step(StrEnum):
    """How far one authority has taken the other's place."""

    COMING = "coming"
    GOING = "going"
    GONE = "gone"


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
        return _renew_server(load_federation(folder), now=now)


def renew_sites(folder: Path, sites: Sequence[str], *, now: int, days: int = ENTRY_DAYS) -> tuple[RosterEntry, ...]:
    """Let sites stay on the roster for longer, with the keys that they have, and certify these anew.

    Args:
        folder: the federation folder.
        sites: their names.
        now: Unix seconds.
        days: how long each entry is valid from now on.

    Raises:
        ConfigError: the folder is no federation folder.
        TrustError: a site is not on the roster, or the authority cannot issue.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        load_authority(folder, now=now)
        for site in sites:
            federation.roster.by_site(site)
        until = now + days * DAY_S
        entries = tuple(
            entry.model_copy(update={"not_after": max(until, entry.not_after)}) if entry.site in sites else entry
            for entry in federation.roster.entries
        )
        replace_roster(federation, entries)
        renewed = tuple(entry for entry in entries if entry.site in sites)
        for entry in renewed:
            issue_admission(federation, entry, now=now)
        return renewed


def renew_authority(folder: Path, *, now: int, without: Set[str] = frozenset()) -> Step:
    """Take the next of the module's three steps.

    Args:
        folder: the federation folder.
        now: Unix seconds.
        without: sites that are not waited for; each needs its admission as a file.

    Returns:
        The step that was taken.

    Raises:
        StudyError: a site has not taken the admission of the last step.
        TrustError: a key is missing or exposed, or the authority has ended.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        _make_up(federation, now=now)
        step = next_step(folder)
        if step is Step.COMING:
            bring_next(folder, name=federation.settings.name, now=now)
        elif lacking := [site for site in waiting_sites(federation, now=now) if site not in without]:
            raise StudyError(
                f"Not every site has taken its admission yet: {', '.join(lacking)}.",
                remedy="Sites take it with their next message; else send the file in admissions/, or use --without.",
            )
        elif step is Step.GOING:
            change(folder, now=now)
        else:
            drop_old(folder)
        for entry in _current(federation, now=now):
            issue_admission(federation, entry, now=now)
        if step is Step.GOING:
            _renew_server(federation, now=now)
        return step


def next_step(folder: Path) -> Step:
    """The step that `renew_authority` would take."""
    if (folder / "ca" / "next").is_dir():
        return Step.GOING
    return Step.GONE if (folder / "ca" / "old.pem").is_file() else Step.COMING


def waiting_sites(federation: Federation, *, now: int) -> tuple[str, ...]:
    """Sites that have not taken their newest admission."""
    return tuple(entry.site for entry in _current(federation, now=now) if not has_taken(federation, entry.site))


def _make_up(federation: Federation, *, now: int) -> None:
    """Finish a step that was cut short: an admission or a certificate that lags behind the authorities."""
    authority, _ = load_authority(federation.folder, now=now)
    for entry in _current(federation, now=now):
        if not is_current(federation, entry.site):
            issue_admission(federation, entry, now=now)
    if not is_issued_by(federation.server_certificate.read_bytes(), authority):
        _renew_server(federation, now=now)


def _current(federation: Federation, *, now: int) -> tuple[RosterEntry, ...]:
    return tuple(entry for entry in federation.roster.entries if entry.valid(now))


def _renew_server(federation: Federation, *, now: int) -> int:
    authority, authority_key = load_authority(federation.folder, now=now)
    public_key = load_transport_key(federation.server_key, role="server's key").public_key()
    host = federation.settings.host
    pem = certificate_pem(issue_server(authority, authority_key, public_key, host=host, now=now))
    write_atomically(federation.server_certificate, pem)
    return int(ends_at(pem))
