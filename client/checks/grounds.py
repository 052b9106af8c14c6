"""What the checks of a site look at, each part read when it is first asked for."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from client.admission import Reach, load_admission
from client.join import Enrolment, load_enrolment, load_invitation
from client.line.forward_proxy import ForwardProxy
from client.line.soundings import Soundings
from client.line.way import Way, way_of
from client.settings import FILE_NAME, SiteSettings, load_settings
from client.stopped import LOCK_FILE
from shared.durable import is_locked
from shared.enrolment import Invitation
from shared.study import Study
from shared.update import Array, Tensors, table_of

FOLDERS = ("cache", "spool")  # where much is written


@dataclass(frozen=True)
class Grounds:
    """One site, as it lies in its folder, and what is asked about it.

    Attributes:
        folder: the site's.
        study: the study that it is to take part in, if one is named.
        idle_s: seconds for which a line is left idle; None tries none.
        baseline: whether the study is trained here alone, to see what the site reaches without the others.
        clock: Unix time in seconds of this computer.
        environment: variables of this process.
        measured: figures that one check leaves to a later one.
    """

    folder: Path
    study: Study | None = None
    idle_s: float | None = None
    baseline: bool = False
    clock: Callable[[], float] = time.time
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    measured: dict[str, float] = field(default_factory=dict)

    @property
    def asked(self) -> Study:
        """The study that is named; for the checks that are made where one is."""
        assert self.study is not None
        return self.study

    @cached_property
    def settings(self) -> SiteSettings:
        """site.toml; raises as `load_settings`."""
        return load_settings(self.folder / FILE_NAME)

    @cached_property
    def invitation(self) -> Invitation:
        """The invitation, without the site's keys; raises as `load_invitation`."""
        return load_invitation(self.folder)

    @cached_property
    def reach(self) -> Reach:
        """Where the server is, and whom to trust there; raises as `load_invitation` and `load_admission`."""
        return Reach.known(self.invitation, load_admission(self.folder, self.invitation))

    @cached_property
    def enrolment(self) -> Enrolment:
        """The site's keys, too; raises as `load_enrolment`."""
        return load_enrolment(self.folder)

    @cached_property
    def way(self) -> Way:
        """How the site goes to the server; raises as `way_of`."""
        return way_of(self.settings.server, self.folder, self.environment)

    @cached_property
    def proxy(self) -> ForwardProxy | None:
        """The proxy that the line to the server takes, if it takes one."""
        return self.way.proxy_to(self.reach.host)

    @property
    def where(self) -> str:
        """The server as the site dials it."""
        return f"{self.reach.host}:{self.reach.port}"

    @cached_property
    def soundings(self) -> Soundings:
        """Signed calls to the server that ask for nothing."""
        return Soundings(self.reach, key=self.enrolment.transport_key, clock=self.clock, way=self.way)

    @cached_property
    def start(self) -> dict[str, Array]:
        """What travels of the study's network as its seed draws it."""
        from client.work.networks import start_network
        from shared.methods import travelling

        return travelling(start_network(self.asked), self.asked)

    @cached_property
    def tensors(self) -> Tensors:
        """The tensors that travel in the study."""
        return table_of(self.start)

    def served(self) -> bool:
        """Whether an agent serves the site now."""
        return is_locked(self.folder / LOCK_FILE)

    def disks(self) -> list[Path]:
        """The folders that much is written to, or, of one that is not there yet, where it will be; one of each disk."""
        there = [self.folder / name if (self.folder / name).is_dir() else self.folder for name in FOLDERS]
        return list({path.stat().st_dev: path for path in there}.values())
