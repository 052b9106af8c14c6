"""Coordinators: who is named beside the lead, and how the lead changes hands.

1. Whoever is to be named makes a key and a request where they work; the lead admits it after two people have compared
   its fingerprint. Who is named signs nothing yet.
2. The lead offers the hand-over to one who is named. Nothing changes by an offer, and in this folder the next change by
   the lead voids it. But an offer that was given cannot be taken back: it bears the lead's signature, and whoever kept
   a copy can accept it elsewhere and show it to sites that have not followed another mandate of that number.
3. The one to come accepts with their own key. From then on it is the federation's: mandate, key, roster and admissions
   follow in this order, the old key is gone from the folder, and what was cut short is finished by accepting again.

A federation that is served changes no hands: its studies hold the old key. Stopped and served again, they go on.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from server.federation import Federation, existing_federation, load_federation, roster_by, unserved
from server.membership.admissions import issue_admission
from server.membership.authority_files import load_authority
from server.succession import check_leads, load_succession, offer_path, succession_path
from shared.command_line import typed
from shared.coordinator_request import CoordinatorRequest, make_coordinator_request
from shared.durable import locked, write_atomically
from shared.errors import ConfigError, TrustError
from shared.identity import sign_roster
from shared.keys import identity_hex, load_identity_key, make_identity_key, save_key
from shared.mandate import (
    FIRST,
    MOST_COORDINATORS,
    MOST_MANDATES,
    Coordinator,
    Mandate,
    SignedMandate,
    Succession,
    read_mandate,
    sign_mandate,
)
from shared.signed_record import read_file

KEY_FILE = "coordinator.key"


def ask(folder: Path, name: str, *, federation: str) -> Path:
    """Make a coordinator's key and a request, on the computer of the person who asks; a key that is there is kept.

    Args:
        folder: the person's own; made if it is not there.
        name: under which sites and auditors will read of them, a-z, 0-9 and hyphens.
        federation: the federation's name.

    Returns:
        The request's path.

    Raises:
        ConfigError: a name is not allowed, or the folder is a federation's.
        TrustError: the key file is exposed.
    """
    if (folder / "federation.toml").exists():
        raise ConfigError(
            f"{folder} is a federation folder; its key is the lead's.", remedy="Name a folder of your own."
        )
    try:
        CoordinatorRequest(federation=federation, name=name, key="0" * 64, signature="00" * 64)
    except ValidationError:
        raise _no_name() from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / KEY_FILE
    if not path.exists():
        save_key(path, make_identity_key())
    request = folder / f"{name}-coordinator-request.json"
    key = load_identity_key(path, role="coordinator's key")
    write_atomically(request, make_coordinator_request(federation, name, key=key))
    return request


def add(folder: Path, asked: CoordinatorRequest, *, now: int, own_name: str | None = None) -> SignedMandate:
    """Name a coordinator, whose fingerprint two people have compared; the same again changes nothing.

    Args:
        folder: the federation folder.
        asked: the request, as it was read.
        now: Unix seconds.
        own_name: of who leads, for the first mandate; later ones keep it.

    Raises:
        ConfigError: the lead's name is needed and not given, or there is no room.
        TrustError: the request is for another federation, or its name or key is somebody's already.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        if asked.federation != federation.settings.name:
            raise _not_named(asked, f"asks to coordinate federation {asked.federation!r}")
        here = _named(federation, own_name)
        known = next((one for one in here if one.name == asked.name), None)
        if known is not None and known.key == asked.key and federation.succession is not None:
            return federation.succession.newest
        _check_free(federation, here, asked)
        everyone = (*here, Coordinator(name=asked.name, key=asked.key))
        lead = _lead_name(federation, own_name)
        return _change(federation, everyone, lead=lead, now=now)


def remove(folder: Path, name: str, *, now: int) -> SignedMandate:
    """Take a coordinator off the mandate.

    Raises:
        ConfigError: nobody of that name coordinates, or it is the lead, who cannot be removed.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        newest = _mandated(federation, name)
        if name == newest.lead:
            last = len(newest.coordinators) == 1
            raise ConfigError(
                f"{name} is the last coordinator and cannot be removed: nobody could speak for the federation."
                if last
                else f"{name} leads and cannot be removed.",
                remedy=(
                    f"First name another: `{typed('federation', 'coordinator', 'add', folder, 'REQUEST')}`."
                    if last
                    else f"First hand over: `{typed('federation', 'coordinator', 'hand-over', folder, 'NAME')}`."
                ),
            )
        others = tuple(one for one in newest.coordinators if one.name != name)
        return _change(federation, others, lead=newest.lead, now=now)


def offer(folder: Path, name: str, *, now: int) -> Path:
    """Offer the lead to one who is named; who leads now will then be no coordinator any more.

    Returns:
        The offer, which lies in the federation folder until it is accepted.

    Raises:
        ConfigError: nobody of that name is named, or leads already.
    """
    with locked(existing_federation(folder)):
        federation = load_federation(folder)
        newest = _mandated(federation, name)
        if name == newest.lead:
            raise ConfigError(f"{name} leads already.", remedy="Name the one who is to take over.")
        mandate = _next(federation, newest.beside(), lead=name, now=now)
        signed = sign_mandate(mandate, key=federation.coordinator_key)
        path = offer_path(folder)
        write_atomically(path, signed.encode())
        return path


def take_over(folder: Path, key: Ed25519PrivateKey, *, now: int) -> SignedMandate:
    """Accept the offer that lies in the folder; done again, it finishes what was cut short.

    Args:
        folder: the federation folder.
        key: the own key of who takes over.
        now: Unix seconds.

    Raises:
        ConfigError: there is no offer.
        TrustError: it is for somebody else's key, or was made before the last change.
        ResourceError: the federation is served.
    """
    with locked(existing_federation(folder)), unserved(folder, "and its studies hold the old key"):
        if not offer_path(folder).is_file():
            raise ConfigError(
                "Nobody has offered a hand-over here.",
                remedy=f"Who leads types `{typed('federation', 'coordinator', 'hand-over', folder, 'NAME')}`.",
            )
        offered = read_mandate(read_file(offer_path(folder), "offer"))
        if offered.leader().key != identity_hex(key.public_key()):
            raise TrustError(
                f"The hand-over is offered to {offered.lead}, whose key has the fingerprint"
                f" {offered.leader().fingerprint()}; this is another key.",
                remedy=f"Name the key that {offered.lead} made with `wardround federation coordinator request`.",
            )
        load_authority(folder, now=now)  # nothing is begun that a passphrase or an ended authority would cut short
        succession = load_succession(folder, federation=offered.federation)
        if succession is None or succession.newest.said() != offered.said():
            succession = _accept(load_federation(folder), offered, key)
        _finish(folder, succession, key, now=now)
        return succession.newest


def _accept(federation: Federation, offered: SignedMandate, key: Ed25519PrivateKey) -> Succession:
    """The point of no return: from here on the new lead's key is the federation's."""
    assert federation.succession is not None  # whom the offer names stands in one
    succession = federation.succession.with_mandate(offered.accepted(key))
    write_atomically(succession_path(federation.folder), succession.encode())
    return succession


def _finish(folder: Path, succession: Succession, key: Ed25519PrivateKey, *, now: int) -> None:
    """Key, roster and admissions follow the mandate; each may be there already."""
    check_leads(succession, key.public_key())
    save_key(folder / KEY_FILE, key)
    roster, ours = roster_by(folder, succession.keys()), succession.newest.leader().key
    if roster.coordinator_key != ours:
        mine = roster.model_copy(update={"coordinator_key": ours, "version": roster.version + 1})
        write_atomically(folder / "roster.signed", sign_roster(mine, key=key))
    federation = load_federation(folder)
    for entry in federation.roster.entries:
        if entry.valid(now):
            issue_admission(federation, entry, now=now)
    offer_path(folder).unlink(missing_ok=True)


def _change(federation: Federation, everyone: tuple[Coordinator, ...], *, lead: str, now: int) -> SignedMandate:
    """The next mandate under the same lead; an offer that was open is void."""
    signed = sign_mandate(_next(federation, everyone, lead=lead, now=now), key=federation.coordinator_key)
    before = federation.succession or Succession(())
    offer_path(federation.folder).unlink(missing_ok=True)
    write_atomically(succession_path(federation.folder), before.with_mandate(signed).encode())
    return signed


def _next(federation: Federation, everyone: tuple[Coordinator, ...], *, lead: str, now: int) -> Mandate:
    newest = federation.succession.newest if federation.succession else None
    if newest is not None and newest.number >= MOST_MANDATES:
        raise ConfigError(f"There were {MOST_MANDATES} mandates; no more are read.", remedy="Found a new federation.")
    return Mandate(
        federation=federation.settings.name,
        number=newest.number + 1 if newest else 1,
        previous=newest.digest() if newest else FIRST,
        issued=now,
        lead=lead,
        coordinators=tuple(sorted(everyone, key=lambda one: one.name)),
    )


def _named(federation: Federation, own_name: str | None) -> tuple[Coordinator, ...]:
    if federation.succession is not None:
        return federation.succession.newest.coordinators
    name = _lead_name(federation, own_name)
    try:
        return (Coordinator(name=name, key=federation.roster.coordinator_key),)
    except ValidationError:
        raise _no_name() from None


def _lead_name(federation: Federation, own_name: str | None) -> str:
    if federation.succession is not None:
        return federation.succession.newest.lead
    if own_name is None:
        raise ConfigError(
            "Until now the federation had one coordinator, who bears no name.",
            remedy="Say your own with --own-name; sites and auditors will read it.",
        )
    return own_name


def _mandated(federation: Federation, name: str) -> SignedMandate:
    newest = federation.succession.newest if federation.succession else None
    if newest is None or newest.named(name) is None:
        names = ", ".join(one.name for one in newest.coordinators) if newest else "one who bears no name"
        raise ConfigError(
            f"{name!r} is no coordinator of this federation; it has {names}.",
            remedy="See `wardround federation coordinator list`.",
        )
    return newest


def _check_free(federation: Federation, here: tuple[Coordinator, ...], asked: CoordinatorRequest) -> None:
    if any(one.name == asked.name for one in here):
        raise _not_named(asked, "bears the name of one who is named with another key")
    led = federation.succession.leads if federation.succession else ()
    if asked.key in {one.key for one in led} - {one.key for one in here}:
        raise _not_named(asked, "brings a key that has given up the lead; it signs nothing any more")
    taken = {one.key for one in here} | {entry.identity_key for entry in federation.roster.entries}
    if asked.key in taken:
        raise _not_named(asked, "brings a key that belongs to somebody else")
    if len(here) >= MOST_COORDINATORS:
        raise ConfigError(f"There are {len(here)} coordinators, the most there may be.", remedy="Remove one first.")


def _not_named(asked: CoordinatorRequest, why: str) -> TrustError:
    return TrustError(
        f"{asked.name} is not named a coordinator: the request {why}.",
        remedy="Talk to the person; if all is well, have them make it again, with their own name and key.",
    )


def _no_name() -> ConfigError:
    return ConfigError(
        "The name of a coordinator or of the federation is not one.", remedy="Use a-z, 0-9 and hyphens, such as dr-b."
    )
