"""`wardround federation renew | status`: what ends when, and what lets it hold for longer."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group
from rich.text import Text

from server.cli.proxying import told_proxy
from server.federation import existing_federation, load_federation
from server.membership.admissions import admission_path, has_taken
from server.membership.endings import endings
from server.membership.renewal import (
    Step,
    next_step,
    renew_authority,
    renew_server_certificate,
    renew_sites,
    waiting_sites,
)
from shared.clock import day
from shared.command_line import typed
from shared.console import Answer, answering, facts, table
from shared.errors import ConfigError

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")]
_TAKEN = {None: "", True: "taken", False: "not taken yet"}
_CARRIED = (
    "\nThe next message of a study brings each site its admission. A site that is in no study"
    " takes the file in admissions/, which holds no secret: wardround site renew FILE"
)
_DONE = {
    Step.COMING: "a new one is trusted beside the old one, which still issues",
    Step.GOING: "the new one issues; both are trusted",
    Step.GONE: "the new one alone is trusted",
}


@answering("federation.renew")
def renew(
    folder: Folder,
    *,
    site: Annotated[list[str] | None, typer.Option(help="A site, instead of the server; repeat it.")] = None,
    authority: Annotated[bool, typer.Option("--authority", help="Take the next step to a new authority.")] = False,
    without: Annotated[list[str] | None, typer.Option(help="A site that --authority does not wait for.")] = None,
) -> Answer:
    """Issue a certificate anew: the server's, a site's, or all by a new authority; no site joins again."""
    if (site and authority) or (without and not authority):
        raise ConfigError("These options do not go together.", remedy="Renew --site, or --authority with --without.")
    if authority:
        return _authority(folder, frozenset(without or ()))
    if site:
        return _sites(folder, site)
    until = day(renew_server_certificate(folder, now=_now()))
    shown = {
        "Server certificate": f"valid until {until}",
        "Shown": "a server that runs takes it up between two rounds",
    }
    return Answer({"folder": str(folder), "valid_until": until}, Group(facts(shown), Text(told_proxy(folder))))


@answering("federation.status")
def status(folder: Folder) -> Answer:
    """Show when the certificates and the sites' places end, and who has taken the newest admission."""
    federation, now = load_federation(existing_federation(folder)), _now()
    sites = federation.roster.sites()
    rows: list[tuple[str, str, str]] = []
    data: list[dict[str, object]] = []
    lines: list[str] = []
    for ending in endings(federation):
        taken, warning = has_taken(federation, ending.name) if ending.name in sites else None, ending.warning(now)
        rows.append((ending.name, day(ending.at), _TAKEN[taken]))
        data.append({"name": ending.name, "until": day(ending.at), "warning": warning, "taken": taken})
        lines += [warning] if warning else []
    step = next_step(folder)
    if step is not Step.COMING:
        lines.append(f"Two authorities are trusted. Run `{typed('federation', 'renew', folder, '--authority')}` next.")
    said = {"federation": federation.settings.name, "endings": data, "authorities": 1 if step is Step.COMING else 2}
    return Answer(said, Group(table(("what", "valid until", "newest admission"), rows), *map(Text, lines)))


def _sites(folder: Path, sites: Sequence[str]) -> Answer:
    renewed = renew_sites(folder, sites, now=_now())
    data = [{"site": e.site, "valid_until": day(e.not_after), "admission": _file(folder, e.site)} for e in renewed]
    shown = table(("site", "valid until"), ((row["site"], row["valid_until"]) for row in data))
    return Answer({"sites": data}, Group(shown, Text(_CARRIED)))


def _authority(folder: Path, without: frozenset[str]) -> Answer:
    step = renew_authority(folder, now=_now(), without=without)
    waiting = waiting_sites(load_federation(folder), now=_now())
    shown = {"Authority": _DONE[step], "Not taken yet": ", ".join(waiting)}
    if step is not Step.GONE:
        shown["Next"] = f"{typed('federation', 'renew', folder, '--authority')}, when all have taken it"
    said = {name: words for name, words in shown.items() if words}
    told = told_proxy(folder)
    return Answer({"step": step.value, "waiting": list(waiting)}, Group(facts(said), Text(_CARRIED + told)))


def _file(folder: Path, site: str) -> str:
    return str(admission_path(folder, site))


def _now() -> int:
    return int(time.time())
