"""`wardround federation coordinator`: a second coordinator, and how the first hands over.

Who may be named, and how the lead changes hands, is decided in `server/coordinators.py`; here its answers are put
into words.
"""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from server import coordinators
from server.cli.compared import ask_person, check_fingerprint
from server.federation import load_federation
from server.succession import offer_path
from shared.clock import day
from shared.command_line import typed
from shared.console import Answer, answering, facts, table
from shared.coordinator_request import read_coordinator_request
from shared.keys import load_identity_key
from shared.mandate import SignedMandate, read_mandate
from shared.signed_record import read_file, read_sent

app = typer.Typer(no_args_is_help=True, help="A second coordinator, and handing the federation over.")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The federation folder.")]
Person = Annotated[str, typer.Argument(metavar="NAME", help="The coordinator's name: a-z, 0-9 and hyphens.")]


@app.command()
@answering("federation.coordinator.request")
def request(
    folder: Annotated[Path, typer.Argument(metavar="OWN-DIR", help="A folder of your own, on your own computer.")],
    name: Person,
    federation: Annotated[str, typer.Option(help="The federation's name.")],
) -> Answer:
    """Make your own coordinator's key here, and the request with which the first coordinator names you."""
    path = coordinators.ask(folder, name, federation=federation)
    asked = read_coordinator_request(read_file(path, "request"))
    shown = {
        "Coordinator": asked.name,
        "Your fingerprint": asked.fingerprint(),
        "Your key": folder / coordinators.KEY_FILE,
        "Request": path,
        "Next": "send the request to who leads, who calls you: read your fingerprint then",
    }
    data = {"name": asked.name, "fingerprint": asked.fingerprint(), "request": str(path)}
    return Answer(data, facts(shown))


@app.command()
@answering("federation.coordinator.add")
def add(
    folder: Folder,
    request: Annotated[Path, typer.Argument(help="The request that the second coordinator sent.")],
    fingerprint: Annotated[
        str | None, typer.Option(help="What they read to you; without it you are asked.", show_default=False)
    ] = None,
    own_name: Annotated[
        str | None, typer.Option(help="Your own name, the first time: a-z, 0-9 and hyphens.", show_default=False)
    ] = None,
) -> Answer:
    """Name a second coordinator, after the fingerprint was compared by telephone."""
    asked = read_coordinator_request(read_sent(request, "coordinator's request"))
    if fingerprint is None:
        ask_person(f"The request of {asked.name} brings a key", asked.fingerprint(), asked.name)
    else:
        check_fingerprint("The request's key has", asked.fingerprint(), expected=fingerprint, whose="request")
    mandate = coordinators.add(folder, asked, now=_now(), own_name=own_name)
    shown = {
        "Named": asked.name,
        "Fingerprint": asked.fingerprint(),
        "Leads": mandate.lead,
        "Next": typed("federation", "coordinator", "hand-over", folder, asked.name),
    }
    return Answer(_mandate(mandate), facts(shown))


@app.command("list")
@answering("federation.coordinator.list")
def list_(folder: Folder) -> Answer:
    """List who coordinates, who leads, and who has led."""
    found = load_federation(folder)
    succession = found.succession
    if succession is None:
        data: dict[str, Any] = {"federation": found.settings.name, "mandate": 0, "coordinators": [], "offered": None}
        return Answer(data, f"One coordinator, who bears no name yet: {found.fingerprint()}")
    newest = succession.newest
    offered = read_mandate(read_file(offer_path(folder), "offer")).lead if offer_path(folder).is_file() else None
    data = {**_mandate(newest), "offered": offered, "former": [one.name for one in succession.leads[:-1]]}
    does = dict.fromkeys((one.name for one in newest.coordinators), "named") | {newest.lead: "leads"}
    does |= {offered: "is offered the lead"} if offered else {}
    rows = [(one.name, "has led", one.fingerprint()) for one in succession.leads[:-1]]
    rows += [(one.name, does[one.name], one.fingerprint()) for one in newest.coordinators]
    shown = table(("coordinator", "does", "fingerprint"), rows)
    return Answer(data, shown)


@app.command()
@answering("federation.coordinator.remove")
def remove(folder: Folder, name: Person) -> Answer:
    """Take a coordinator off who does not lead; a hand-over that was offered is void in this folder."""
    mandate = coordinators.remove(folder, name, now=_now())
    return Answer(_mandate(mandate), f"{name} coordinates no more, by mandate {mandate.number}.")


@app.command("hand-over")
@answering("federation.coordinator.hand-over")
def hand_over(folder: Folder, name: Person) -> Answer:
    """Offer the lead to a coordinator who is named; once given, it cannot be taken back."""
    path = coordinators.offer(folder, name, now=_now())
    shown = {
        "Offered to": name,
        "Once given": "it cannot be taken back: a copy can be accepted later, elsewhere",
        "Next": f"{name} types: {typed('federation', 'coordinator', 'take-over', folder, '--key', 'OWN-KEY')}",
    }
    return Answer({"name": name, "offer": str(path)}, facts(shown))


@app.command("take-over")
@answering("federation.coordinator.take-over")
def take_over(
    folder: Folder,
    key: Annotated[Path, typer.Option(help="Your own key: coordinator.key of `coordinator request`.")],
) -> Answer:
    """Accept the lead with your own key; the old key is gone from the folder, and sites follow."""
    mandate = coordinators.take_over(folder, load_identity_key(key, role="coordinator's key"), now=_now())
    shown = {
        "Leads": mandate.lead,
        "Fingerprint": mandate.leader().fingerprint(),
        "Since": f"{day(mandate.issued)}, mandate {mandate.number}",
        "Sites": "follow with their next message; no site joins again",
        "Next": f"{typed('federation', 'serve', folder)}, and a new backup",
    }
    return Answer(_mandate(mandate), facts(shown))


def _mandate(mandate: SignedMandate) -> dict[str, Any]:
    return {
        "federation": mandate.federation,
        "mandate": mandate.number,
        "lead": mandate.lead,
        "coordinators": [{"name": one.name, "fingerprint": one.fingerprint()} for one in mandate.coordinators],
    }


def _now() -> int:
    return int(time.time())
