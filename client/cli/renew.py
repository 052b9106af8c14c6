"""`wardround site renew`: takes an admission that came as a file."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.admission import last_day, take_admission
from client.join import load_enrolment
from client.settings import folder_of
from client.waiting_entries import keep_entry, note_now
from shared.console import Answer, answering, facts
from shared.keys import transport_pem
from shared.signed_record import read_file


@answering("site.renew")
def renew(
    admission: Annotated[Path, typer.Argument(help="The admission that the coordinator sent.")],
    config: Config = DEFAULT_CONFIG,
) -> Answer:
    """Take an admission: address, authorities and certificate; the keys stay, and the data."""
    from shared.clock import utc_now

    folder = folder_of(config)
    had = load_enrolment(folder)
    public = transport_pem(had.transport_key.public_key())
    taken = take_admission(
        folder,
        read_file(admission, "admission"),
        invitation=had.invitation,
        transport_key=public,
        note=partial(keep_entry, folder),
    )
    note_now(folder, now=utc_now())
    until = last_day(taken)
    shown = {
        "site": taken.site,
        "server": f"{taken.host}, port {taken.fleet_port}",
        "certificate": f"valid until {until}",
        "next": f"an agent that runs takes it up when it is started again: {about_site(config, 'start')}",
    }
    data = {"site": taken.site, "host": taken.host, "port": taken.fleet_port, "valid_until": until}
    return Answer(data, facts(shown))
