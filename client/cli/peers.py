"""`wardround site peers`: the other sites, whose keys a person here has compared, and whose not."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from client.about_site import DEFAULT_CONFIG, Config
from client.join import Enrolment, load_enrolment
from client.peers import Confirmed, confirm, read_peers
from client.person import By, named_person
from client.site_folder import joined_folder
from client.study_store import StudyStore
from shared.clock import utc_now
from shared.console import Answer, JsonFlag, answering, table
from shared.errors import ConfigError
from shared.keys import fingerprint, identity_hex, spaced, transport_pem

app = typer.Typer(help="Other sites that this one believes in, by their fingerprints.")

Peer = Annotated[str, typer.Argument(metavar="NAME", help="The other site's name.")]
_UNCONFIRMED, _DIFFERS = "not confirmed", "DIFFERS from the one confirmed"


@app.callback(invoke_without_command=True)
def peers(context: typer.Context, config: Config = DEFAULT_CONFIG, *, as_json: JsonFlag = False) -> None:
    """List the other sites of open studies and those confirmed, with their fingerprints."""
    if context.invoked_subcommand is None:
        listing(config=config, as_json=as_json)


@answering("site.peers")
def listing(config: Path) -> Answer:
    """What `peers` without a further word says."""
    folder = joined_folder(config)
    had, known = load_enrolment(folder), read_peers(folder)
    told = _told(folder, had.invitation.site)
    rows = []
    for name in sorted({*known, *told}):
        shown = told.get(name) or known[name].fingerprint
        rows.append({"name": name, "fingerprint": shown, "standing": _standing(known.get(name), told.get(name))})
    ours = f"This site, {had.invitation.site}: {_own(had)}"
    if not rows:
        return Answer({"peers": [], "own_fingerprint": _own(had)}, f"No other site is known here yet.\n{ours}")
    listed = table(("peer", "fingerprint", "standing"), (row.values() for row in rows))
    return Answer({"peers": rows, "own_fingerprint": _own(had)}, Group(listed, Text(ours)))


@app.command("confirm")
@answering("site.peers.confirm")
def confirm_peer(
    name: Peer,
    given: Annotated[str, typer.Argument(metavar="FINGERPRINT", help="As that site read it to you (in quotes).")],
    config: Config = DEFAULT_CONFIG,
    by: By = None,
) -> Answer:
    """Say that you have called this site and that its keys have this fingerprint."""
    folder = joined_folder(config)
    if name == load_enrolment(folder).invitation.site:
        raise ConfigError(f"{name} is this very site.", remedy="Name another one.")
    peer = Confirmed(fingerprint=_fingerprint(given), by=named_person(by), at=utc_now())
    confirm(folder, name, peer)
    return Answer({"name": name, "fingerprint": peer.fingerprint}, f"{name} is confirmed: {peer.fingerprint}")


@app.command()
@answering("site.peers.forget")
def forget(name: Peer, config: Config = DEFAULT_CONFIG) -> Answer:
    """Believe in this site no more."""
    folder = joined_folder(config)
    if name not in read_peers(folder):
        raise ConfigError(f"{name} is not confirmed here.", remedy="See `wardround site peers`.")
    confirm(folder, name, None)
    return Answer({"name": name}, f"{name} is not confirmed any more.")


def _told(folder: Path, site: str) -> dict[str, str]:
    """What coordinators said in the openings of studies that are open here, by peer."""
    told: dict[str, str] = {}
    studies = StudyStore(folder / "state")
    for study in studies.active():
        if (record := studies.find(study)) is not None:
            told |= record.open.fingerprints
    told.pop(site, None)
    return told


def _standing(known: Confirmed | None, told: str | None) -> str:
    if known is None:
        return _UNCONFIRMED
    if told not in (None, known.fingerprint):
        return _DIFFERS
    return f"confirmed by {known.by} on {known.at[:10]}"


def _own(had: Enrolment) -> str:
    return fingerprint(transport_pem(had.transport_key.public_key()), identity_hex(had.identity_key.public_key()))


def _fingerprint(given: str) -> str:
    digits = "".join(given.split()).lower()
    if len(digits) != 32 or set(digits) - set("0123456789abcdef"):
        raise ConfigError(
            "This is no fingerprint: eight groups of four of the digits 0-9 and a-f.",
            remedy="Give it in quotes, as the other site's IT reads it from `wardround site peers`.",
        )
    return spaced(digits)
