"""`wardround site renew`: takes an admission, or the mandates of the coordinators, that came as a file."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from client.about_site import DEFAULT_CONFIG, Config, about_site
from client.admission import last_day, take_admission
from client.join import Enrolment, load_enrolment
from client.settings import folder_of
from client.waiting_entries import keep_entry, note_now
from shared.console import Answer, answering, facts
from shared.keys import transport_pem
from shared.mandate import LARGEST, is_succession
from shared.signed_record import read_sent


@answering("site.renew")
def renew(
    admission: Annotated[
        Path, typer.Argument(metavar="FILE", help="The admission, or coordinators.signed, that the coordinator sent.")
    ],
    config: Config = DEFAULT_CONFIG,
) -> Answer:
    """Take an admission (address, authorities and certificate) or who coordinates; the keys stay, and the data."""
    from shared.clock import utc_now

    folder = folder_of(config)
    had, data = load_enrolment(folder), _content(admission)
    if is_succession(data):
        return _followed(config, folder, had, data)
    public = transport_pem(had.transport_key.public_key())
    taken = take_admission(
        folder,
        data,
        invitation=had.invitation,
        coordinator=had.coordinators.key,
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
    said = {"site": taken.site, "host": taken.host, "port": taken.fleet_port, "valid_until": until}
    return Answer(said, facts(shown))


def _followed(config: Path, folder: Path, had: Enrolment, data: bytes) -> Answer:
    """Follow mandates, by the rules of `shared/mandate.py`."""
    from shared.clock import utc_now

    had.coordinators.take(data, note=partial(keep_entry, folder))
    note_now(folder, now=utc_now())
    newest = had.coordinators.mandate
    assert newest is not None  # one was taken, or had been before
    shown = {
        "site": had.invitation.site,
        "coordinator": newest.lead,
        "fingerprint": newest.leader().fingerprint(),
        "mandate": newest.number,
        "next": f"an agent that runs takes it up when it is started again: {about_site(config, 'start')}",
    }
    said = {"site": had.invitation.site, "coordinator": newest.lead, "fingerprint": newest.leader().fingerprint()}
    return Answer({**said, "mandate": newest.number}, facts(shown))


def _content(path: Path) -> bytes:
    """Either kind of file, bounded by the longer of the two; whoever reads it is stricter."""
    return read_sent(path, "admission", "list of mandates", limit=LARGEST)
