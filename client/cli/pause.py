"""`wardround site pause` and `resume`: nothing new is done for studies here, until somebody says otherwise."""

from typing import Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.pausing import Pause, find_pause
from client.pausing import pause as write_pause
from client.pausing import resume as end_pause
from client.person import By, named_person, stated_reason
from client.site_folder import joined_folder
from client.waiting_entries import note_now
from shared.console import Answer, answering


@answering("site.pause")
def pause(
    config: Config = DEFAULT_CONFIG,
    *,
    by: By = None,
    reason: Annotated[str | None, typer.Option(help="Why; it stays in this site's ledger.")] = None,
) -> Answer:
    """Work on nothing new until `resume`; what is in hand is finished, and what is finished leaves."""
    from shared.clock import utc_now

    folder, asked = joined_folder(config), Pause(by=named_person(by), since=utc_now(), reason=stated_reason(reason))
    new = write_pause(folder, asked)
    note_now(folder, now=utc_now())
    held = asked if new else find_pause(folder) or asked
    said = {"paused": True, "new": new, **held.model_dump()}
    words = f"Paused since {held.since[:19]}Z by {held.by}." if held.since != "unknown" else "Paused."
    then = "The coordinators of open studies see it; what is in hand is finished."
    return Answer(said, f"{words} {then}\nTo go on: {about_site(config, 'resume')}")


@answering("site.resume")
def resume(config: Config = DEFAULT_CONFIG, *, by: By = None) -> Answer:
    """End a pause: studies go on when the server asks again, within a minute or so."""
    from shared.clock import utc_now

    folder, name = joined_folder(config), named_person(by)
    ended = end_pause(folder, by=name, now=utc_now())
    note_now(folder, now=utc_now())
    if ended is None:
        return Answer({"resumed": False}, "This site is not paused.")
    return Answer({"resumed": True, "since": ended.since, "by": name}, "The site works again on what it is asked.")
