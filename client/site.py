"""A site's folder: where everything of one site lies, and the parts built from it."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from client.alarm import Alarm
from client.approvals import Approvals
from client.egress import Egress
from client.join import Enrolment, load_enrolment
from client.line.way import Way, way_of
from client.link import Link
from client.policy import check_federation
from client.privacy.lost_tail import declared_losses
from client.privacy.price import Price, PriceList
from client.privacy.purse import Purse
from client.receipts import LEDGER_FILE
from client.seldom import Seldom
from client.settings import SiteSettings, load_settings
from client.software import Software, installed
from client.spool import SiteSpool
from client.study_store import StudyStore
from client.worker_process import WorkerProcess
from shared.clock import utc_now
from shared.durable import show_file
from shared.errors import ConfigError
from shared.ledger import Ledger


@dataclass(frozen=True)
class Site:
    """The parts of a running site, built once from its folder.

    `say` prints one line on the site's own console; nothing said there leaves the site.
    """

    folder: Path
    settings: SiteSettings
    enrolment: Enrolment = field(repr=False)
    link: Link
    way: Way
    egress: Egress
    ledger: Ledger
    seldom: Seldom
    spool: SiteSpool
    studies: StudyStore
    approvals: Approvals
    worker: WorkerProcess
    purse: Purse
    software: Software
    alarm: Alarm
    say: Callable[[str], None]
    now: Callable[[], str] = field(default=utc_now)

    @property
    def name(self) -> str:
        """The site's name in its federation."""
        return self.enrolment.invitation.site

    @property
    def coordinator(self) -> Ed25519PublicKey:
        """The key that speaks for the federation now."""
        return self.enrolment.coordinators.key


def open_site(
    folder: Path,
    *,
    say: Callable[[str], None],
    link: Any = None,
    worker: Any = None,
    clock: Callable[[], float] = time.time,
    price: Price | None = None,
    software: Software | None = None,
) -> Site:
    """Build the parts of the site in `folder`.

    Args:
        folder: the site's folder.
        say: prints one line on the site's console.
        link: instead of the line to the server, something with the interface of `Link`.
        worker: instead of a worker process, something with the interface of `WorkerProcess`.
        clock: Unix time in seconds of this computer.
        price: instead of a process that prices histories, the function that does.
        software: what the site runs; None looks for what is installed.

    Raises:
        ConfigError: site.toml or the invitation cannot be used.
        TrustError: a key file is open to others, or the ledger does not hold.
    """
    settings, enrolment = _settings_and_enrolment(folder)
    name = enrolment.invitation.site
    now, way = partial(utc_now, clock), way_of(settings.server, folder, os.environ)
    ledger = Ledger.open(folder / LEDGER_FILE, key=enrolment.identity_key, signer=name, now=now())
    lost = declared_losses(folder / LEDGER_FILE)
    return Site(
        folder=folder,
        settings=settings,
        enrolment=enrolment,
        link=link or _link(enrolment, folder / "link", clock, way),
        way=way,
        egress=Egress(site=name, key=enrolment.identity_key, ledger=ledger, now=now, policy=settings.policy, lost=lost),
        ledger=ledger,
        seldom=Seldom(ledger, now),
        spool=SiteSpool(folder / "spool"),
        studies=StudyStore(folder / "state"),
        approvals=approvals_of(folder, enrolment),
        worker=worker or WorkerProcess(folder, code=(software or installed()).code),
        purse=Purse(folder, ledger, settings.policy.budget, price=price or PriceList(), now=now, say=say),
        software=software or installed(),
        alarm=Alarm(settings.notify, site=name, line=settings.policy.line, say=say, clock=time.monotonic),
        say=say,
        now=now,
    )


def check_settings(folder: Path) -> None:
    """Whether an agent could start with the site.toml of a folder; raises as `open_site`."""
    settings, _ = _settings_and_enrolment(folder)
    way_of(settings.server, folder, os.environ)


def _settings_and_enrolment(folder: Path) -> tuple[SiteSettings, Enrolment]:
    """Both, if they are of one site, and the policy permits the federation."""
    enrolment = load_enrolment(folder)  # looks at the folder's format before anything else is read
    settings, invitation = load_settings(folder / "site.toml"), enrolment.invitation
    if settings.site.name != invitation.site:
        raise ConfigError(
            f"site.toml names the site {settings.site.name!r}, its invitation {invitation.site!r}.",
            remedy="Write the invitation's name into site.toml, or use the folder of the other site.",
        )
    fingerprint = invitation.coordinator_fingerprint()
    check_federation(settings.policy, federation=invitation.federation, coordinator=fingerprint)
    return settings, enrolment


def approvals_of(folder: Path, enrolment: Enrolment) -> Approvals:
    """What waits for a person of the site, and what was decided."""
    site, key = enrolment.invitation.site, enrolment.identity_key.public_key()
    return Approvals(folder / "approvals", site=site, key=key)


def _link(enrolment: Enrolment, folder: Path, clock: Callable[[], float], way: Way) -> Link:
    folder.mkdir(mode=0o700, exist_ok=True)
    return Link(**enrolment.reach._asdict(), key=enrolment.transport_key, folder=folder, clock=clock, way=way)


def write_status(folder: Path, status: dict[str, Any]) -> None:
    """Replace the site's status file, which `site status` reads."""
    show_file(folder / "status.json", json.dumps(status, indent=1).encode())
