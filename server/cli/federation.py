"""`wardround federation`: the coordinator founds a federation, lets sites in, and serves it.

Who may be admitted is decided in `server/membership/enrolment.py`; here its answers are put into words.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from server.cli import coordinating
from server.cli.backing_up import backup, restore
from server.cli.checking import check
from server.cli.compared import ask_person, check_fingerprint
from server.cli.passphrase import passphrase
from server.cli.proxying import proxy, told_proxy
from server.cli.renewing import renew, status
from server.federation import create_federation, load_federation
from server.membership import enrolment
from server.membership.admissions import admission_path
from shared.clock import day
from shared.command_line import typed
from shared.console import Answer, answering, facts, table
from shared.identity import RosterEntry
from shared.parent import end_if_asked
from shared.signed_record import read_sent

app = typer.Typer(no_args_is_help=True, help="Coordinator: found a federation, invite, admit, serve.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")]
Site = Annotated[str, typer.Argument(help="The site's name: a-z, 0-9 and hyphens.")]


@app.command()
@answering("federation.init")
def init(
    folder: Folder,
    name: Annotated[str, typer.Option(help="The federation's name: a-z, 0-9 and hyphens.")],
    host: Annotated[str, typer.Option(help="Host name or address that the sites dial.")],
    port: Annotated[int, typer.Option(help="TCP port that the sites dial.", min=1, max=65535)] = 9092,
) -> Answer:
    """Make a federation folder: its authority, server certificate, coordinator key and empty roster."""
    made = create_federation(folder, name=name, host=host, fleet_port=port, now=_now())
    data = {
        "folder": str(folder),
        "name": made.settings.name,
        "host": made.settings.host,
        "port": made.settings.fleet_port,
        "coordinator_fingerprint": made.fingerprint(),
    }
    shown = {
        "Federation": made.settings.name,
        "Folder": folder,
        "Sites dial": f"{made.settings.host}, port {made.settings.fleet_port}",
        "Coordinator's key": made.fingerprint(),
        "Next": typed("federation", "invite", folder, "SITE"),
    }
    return Answer(data, facts(shown))


@app.command()
@answering("federation.invite")
def invite(
    folder: Folder,
    site: Site,
    days: Annotated[int, typer.Option(help="Days in which it can be answered.", min=1, max=365)] = (
        enrolment.INVITATION_DAYS
    ),
) -> Answer:
    """Write an invitation for a site, to be sent to it by a way that you trust."""
    path = enrolment.invite(folder, site, now=_now(), days=days)
    shown = {
        "Invitation": path,
        "Holds": "secrets of the federation; send it to the site's IT alone",
        "Next": typed("federation", "admit", folder, "REQUEST"),
    }
    return Answer({"site": site, "invitation": str(path), "days": days}, facts(shown))


@app.command()
@answering("federation.admit")
def admit(
    folder: Folder,
    request: Annotated[Path, typer.Argument(help="The join request that the site sent.")],
    fingerprint: Annotated[
        str | None, typer.Option(help="What the site read to you; without it you are asked.", show_default=False)
    ] = None,
) -> Answer:
    """Put a site on the roster, after its fingerprint was compared with the site by telephone."""
    sent = read_sent(request, "join request")
    asked, before = enrolment.examine(folder, sent, now=_now())  # ahead of two people's telephoning
    if fingerprint is None:
        ask_person(f"The join request of {asked.site} brings keys", asked.fingerprint(), asked.site)
    else:
        has = "The join request's keys have"
        check_fingerprint(has, asked.fingerprint(), expected=fingerprint, whose="request")
    entry = enrolment.admit(folder, sent, now=_now())
    again = entry == before
    shown = {
        "Admitted": f"{entry.site}{', already before; the roster is as it was' if again else ''}",
        "Fingerprint": entry.fingerprint(),
        "Valid until": day(entry.not_after),
        "Certificate": admission_path(folder, entry.site),
        "Next": typed("federation", "serve", folder),
    }
    data = {**_entry(entry), "admission": str(admission_path(folder, entry.site)), "admitted_before": again}
    return Answer(data, facts(shown))


@app.command()
@answering("federation.revoke")
def revoke(folder: Folder, site: Site) -> Answer:
    """Cut a site off at once, in the middle of a round, too; it must be invited again."""
    roster = enrolment.revoke(folder, site)
    said = f"{site} is off the roster. If this federation is served, it is cut off now; rounds go on without it."
    return Answer({"site": site, "sites": list(roster.sites())}, said + told_proxy(folder))


@app.command()
@answering("federation.roster")
def roster(folder: Folder) -> Answer:
    """List the admitted sites, their fingerprints, and until when they are valid."""
    found = load_federation(folder)
    data = {"federation": found.settings.name, "sites": [_entry(entry) for entry in found.roster.entries]}
    if not found.roster.entries:
        return Answer(data, f"No site yet. Invite one: {typed('federation', 'invite', folder, 'SITE')}")
    rows = [(entry.site, entry.fingerprint(), day(entry.not_after)) for entry in found.roster.entries]
    return Answer(data, table(("site", "fingerprint", "valid until"), rows))


@app.command()
@answering("federation.serve")
def serve(folder: Folder) -> Answer:
    """Run the federation's server until stopped; it resumes the studies that were running."""
    end_if_asked()
    from server.engine.supervisor import serve as run_until_stopped  # Flower is loaded only here

    run_until_stopped(folder)
    return Answer({"folder": str(folder)}, "The server has stopped.")


def _now() -> int:
    return int(time.time())


def _entry(entry: RosterEntry) -> dict[str, str]:
    return {"site": entry.site, "fingerprint": entry.fingerprint(), "valid_until": day(entry.not_after)}


for one in (renew, status, check, passphrase, proxy, backup, restore):
    app.command()(one)
app.add_typer(coordinating.app, name="coordinator")
