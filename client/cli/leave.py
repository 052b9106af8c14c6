"""`wardround site leave`: stop taking part for good."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.join import load_enrolment
from client.leaving import has_left
from client.leaving import leave as write_departure
from client.pausing import Pause
from client.person import By, named_person, stated_reason
from client.site_folder import joined_folder
from client.waiting_entries import note_now
from shared.console import Answer, answering
from shared.errors import ConfigError

if TYPE_CHECKING:
    from client.study_store import StudyStore


@answering("site.leave")
def leave(
    config: Config = DEFAULT_CONFIG,
    *,
    by: By = None,
    reason: Annotated[str | None, typer.Option(help="Why; it stays in this site's ledger.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Answer:
    """Leave the federation for good: what is in hand is finished, each open study is told, the ledger stays."""
    from client.study_store import StudyStore
    from shared.clock import utc_now

    folder, name, why = joined_folder(config), named_person(by), stated_reason(reason)
    about = load_enrolment(folder).invitation
    if has_left(folder):
        return Answer({"left": True, "new": False}, f"{about.site} has left {about.federation} already.")
    asked = f"Leave {about.federation} for good? To come back, {about.site} joins anew, with another invitation."
    if not yes and not typer.confirm(asked, err=True):
        raise ConfigError("The site has not left.", remedy=f"To stop for a while: {about_site(config, 'pause')}")
    write_departure(folder, Pause(by=name, since=utc_now(), reason=why))
    note_now(folder, now=utc_now())
    studies = StudyStore(folder / "state")
    said = {"left": True, "new": True, "by": name, "reason": why, "open": studies.active(), "known": studies.names()}
    return Answer(said, _words(config, studies))


def _words(config: Path, studies: "StudyStore") -> str:
    opened = studies.active()
    now = (
        f"Let the agent run, or start it, until it has told the coordinator of {', '.join(opened)}: it then ends."
        if opened
        else "No study is open here. The agent ends by itself, and does not start again."
    )
    purge = "".join(f"\n{about_site(config, 'purge', name)}" for name in studies.names())
    then = f"\nThen, to remove what studies left here:{purge}" if purge else ""
    return f"{now}\nTell the coordinator, who takes the site off the roster.{then}\nKeep the ledger for auditors."
