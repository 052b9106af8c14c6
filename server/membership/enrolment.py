"""Enrolment: which sites are invited, and who is put on the roster.

A site is admitted if, in this order:

1. its join request is sound (`shared/enrolment.py`) and made for this federation;
2. its name is new, or its entry has ended; if not, and the keys are the same, it is simply told so again;
3. it answers the invitation that lies here for its name, and this has not expired; who is admitted uses it up;
4. none of its keys is somebody else's. Its new entry takes the place of one that has ended.

Whether the person who sent the request is the hospital is decided by two people who compare its
fingerprint. Each change holds the folder's lock and replaces one file.
"""

from collections.abc import Iterable
from pathlib import Path
from secrets import token_hex

from pydantic import ValidationError

from server.federation import Federation, existing_federation, load_federation
from server.membership.admissions import admission_path, admission_sites, forget_admission, issue_admission
from server.membership.authority_files import load_authority
from shared.command_line import typed
from shared.durable import locked, write_atomically
from shared.enrolment import JoinRequest, Offer, make_invitation, read_invitation, read_join_request
from shared.errors import ConfigError, TrustError
from shared.identity import Roster, RosterEntry, sign_roster
from shared.section import wrong_keys

ENTRY_DAYS = 730
INVITATION_DAYS = 14
_DAY = 86400  # seconds


def invite(folder: Path, site: str, *, now: int, days: int = INVITATION_DAYS) -> Path:
    """Write an invitation for a site; a new one takes the place of an older one.

    Args:
        folder: the federation folder.
        site: the site's name, a-z, 0-9 and hyphens.
        now: Unix seconds.
        days: how long the invitation can be answered.

    Raises:
        ConfigError: the name is not allowed, or on the roster with an entry that has not ended.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        offer = _offer(federation, site, expires=now + days * _DAY)
        if _current(federation.roster, site, now=now):
            raise ConfigError(
                f"Site {site!r} is on the roster already.",
                remedy=f"If its keys are lost: `{typed('federation', 'revoke', folder, site)}`, then invite it again.",
            )
        path = _invitation_path(folder, site)
        write_atomically(path, make_invitation(offer, key=federation.coordinator_key), mode=0o600)
        return path


def admit(folder: Path, request: bytes, *, now: int, days: int = ENTRY_DAYS) -> RosterEntry:
    """Put a site on the roster by the module's rules; a repeated request changes nothing.

    Args:
        folder: the federation folder.
        request: the join request's bytes.
        now: Unix seconds.
        days: how long the entry is valid.

    Raises:
        TrustError: a rule does not hold.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        asked = read_join_request(request)
        if (current := _examined(federation, asked, now=now)) is not None:
            return _admitted_before(federation, current, now=now)
        others = tuple(entry for entry in federation.roster.entries if entry.site != asked.site)
        entry = RosterEntry(
            site=asked.site,
            transport_key=asked.transport_key,
            identity_key=asked.identity_key,
            not_before=now,
            not_after=now + days * _DAY,
        )
        replace_roster(federation, (*others, entry))
        issue_admission(federation, entry, now=now)
        _invitation_path(folder, entry.site).unlink(missing_ok=True)
        return entry


def examine(folder: Path, request: bytes, *, now: int) -> tuple[JoinRequest, RosterEntry | None]:
    """What `admit` would put on the roster, and the entry if that was done before; writes nothing, raises as that."""
    asked = read_join_request(request)
    return asked, _examined(load_federation(folder), asked, now=now)


def revoke(folder: Path, site: str) -> Roster:
    """Take a site off the roster, with its invitation and admission; it may be invited anew.

    A server that runs lets the site in no more, and a round that is under way goes on without it. The roster
    comes last, and what was cut short can be done again.

    Raises:
        TrustError: the site is not on the roster, and nothing of it is left.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        roster = federation.roster
        if site not in roster.sites() and site not in admission_sites(folder):
            roster.by_site(site)
        _invitation_path(folder, site).unlink(missing_ok=True)
        forget_admission(folder, site)
        if site not in roster.sites():
            return roster
        return replace_roster(federation, tuple(entry for entry in roster.entries if entry.site != site))


def _invitation_path(folder: Path, site: str) -> Path:
    return folder / "invitations" / f"{site}.json"


def _offer(federation: Federation, site: str, *, expires: int) -> Offer:
    try:
        return Offer(
            federation=federation.settings.name,
            site=site,
            host=federation.settings.host,
            fleet_port=federation.settings.fleet_port,
            ca_certificate=federation.trusted(),
            coordinator_key=federation.roster.coordinator_key,
            patient_salt=federation.patient_salt,
            token=token_hex(32),
            expires=expires,
        )
    except ValidationError as error:
        if any(found["loc"] == ("site",) for found in error.errors()):
            raise ConfigError(
                f"{site!r} cannot be the name of a site.", remedy="Use a-z, 0-9 and hyphens, such as ward-c."
            ) from None
        raise ConfigError(wrong_keys("invitation", Offer, error), remedy="Correct what is named.") from None


def _current(roster: Roster, site: str, *, now: int) -> RosterEntry | None:
    """The site's entry, unless there is none or it has ended."""
    return next((entry for entry in roster.entries if entry.site == site and now < entry.not_after), None)


def _examined(federation: Federation, asked: JoinRequest, *, now: int) -> RosterEntry | None:
    """The rules of the module for a sound request, in their order; the entry that it has already."""
    load_authority(federation.folder, now=now)  # nobody is put on the roster whom nothing can certify
    roster = federation.roster
    if asked.federation != roster.federation:
        raise _not_admitted(asked, f"asks to join federation {asked.federation!r}")
    if (current := _current(roster, asked.site, now=now)) is not None:
        if (current.transport_key, current.identity_key) != (asked.transport_key, asked.identity_key):
            raise _not_admitted(asked, "is on the roster with other keys, and its invitation was used for those")
        return current
    _check_invitation(federation.folder, asked, now=now)
    others = tuple(entry for entry in roster.entries if entry.site != asked.site)
    _check_keys_free(federation.speakers, others, asked)
    return None


def _admitted_before(federation: Federation, entry: RosterEntry, *, now: int) -> RosterEntry:
    """The same request again, perhaps because the first was cut short: what is missing is made up for."""
    if not admission_path(federation.folder, entry.site).is_file():
        issue_admission(federation, entry, now=now)
    _invitation_path(federation.folder, entry.site).unlink(missing_ok=True)
    return entry


def _check_invitation(folder: Path, asked: JoinRequest, *, now: int) -> None:
    path = _invitation_path(folder, asked.site)
    if not path.is_file():
        raise _not_admitted(asked, "was not invited, or its invitation was used already")
    invitation = read_invitation(path.read_bytes())
    if not asked.answers(invitation):
        raise _not_admitted(asked, "answers another invitation than the last one, or was changed on its way")
    if now >= invitation.expires:
        raise _not_admitted(asked, "answers an invitation that has expired")


def _check_keys_free(coordinators: Iterable[str], others: tuple[RosterEntry, ...], asked: JoinRequest) -> None:
    taken = set(coordinators)
    for entry in others:
        taken |= {entry.transport_key, entry.identity_key}
    if not taken.isdisjoint((asked.transport_key, asked.identity_key)):
        raise _not_admitted(asked, "brings a key that belongs to somebody else")


def replace_roster(federation: Federation, entries: tuple[RosterEntry, ...]) -> Roster:
    """Sign and write the next version of the roster, whose lock the caller holds."""
    old = federation.roster
    roster = Roster(
        federation=old.federation,
        coordinator_key=old.coordinator_key,
        version=old.version + 1,
        entries=tuple(sorted(entries, key=lambda entry: entry.site)),
    )
    write_atomically(federation.folder / "roster.signed", sign_roster(roster, key=federation.coordinator_key))
    return roster


def _not_admitted(asked: JoinRequest, why: str) -> TrustError:
    return TrustError(
        f"Site {asked.site!r} is not admitted: it {why}.",
        remedy="Talk to the site; if all is well, let it join with the newest invitation, or revoke the old entry.",
    )
