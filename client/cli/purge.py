"""`wardround site purge`: remove what a study that is over left at the site, but for what an auditor needs."""

from typing import Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config
from client.person import By, named_person
from client.site_folder import joined_folder
from shared.console import Answer, answering, facts, progress_console
from shared.errors import ConfigError


@answering("site.purge")
def purge(
    study: Annotated[str, typer.Argument(help="The study, as `site sent` names it.")],
    *,
    config: Config = DEFAULT_CONFIG,
    by: By = None,
    abandoned: Annotated[bool, typer.Option("--abandoned", help="Although its coordinator never closed it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> Answer:
    """Remove a study's decoded images, models and finished work here; the ledger stays. Stop the agent first."""
    from client.purging import leftovers
    from client.purging import purge as remove
    from client.stopped import stopped_ledger
    from shared.clock import utc_now

    folder, name, now = joined_folder(config), named_person(by), utc_now()
    with stopped_ledger(folder, now=now) as ledger:
        found = leftovers(folder, study, abandoned=abandoned)
        sizes = found.sizes
        if not yes:
            progress_console().print(facts({kind: f"{size:,} bytes" for kind, size in sizes.items()}))
            asked = f"Remove this of {study} for good? No study of that name can be opened here again."
            if not typer.confirm(asked, err=True):
                raise ConfigError("Nothing was removed.", remedy="Type yes, or give --yes, if it is to go.")
        freed = remove(folder, found, ledger, by=name, now=now)
    said = {"study": study, "by": name, "freed_bytes": freed, "removed": sizes, "shared_entries": len(found.shared)}
    kept = " Decoded images that another study uses, too, stay." if found.shared else ""
    words = f"{freed:,} bytes of {study} are removed; ledger, budget and image lists stay.{kept}"
    return Answer(said, words)
