"""The figures that a server shows to its own house's monitoring; what they are for stands in `docs/operation.md`.

All of it is what the coordinator holds anyway: counts, sizes and times, under names of studies and sites and under
codes. Those of a study are in `server/study_figures.py`; they are told of each study that has not ended, or ends while
this server runs.
"""

import contextlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from server.engine.alive import answers
from server.engine.served import Served
from server.federation import Federation, LiveRoster
from server.membership.endings import endings
from server.study_figures import STUDY_FAMILIES, StudyFigures
from server.study_folder import ENDED, StudyFolder, StudyState, all_studies
from shared.errors import WardroundError
from shared.figures import Family, Sample, metrics
from shared.monitoring import Health, Heartbeat

if TYPE_CHECKING:
    from prometheus_client.core import Metric

FAMILIES = (
    Family("wardround_superlink_starts_total", "Starts of the SuperLink since this server was started."),
    Family("wardround_study_starts_total", "Starts of a study's process since this server was started.", ("study",)),
    Family("wardround_disk_free_bytes", "Room on the disk under the federation's folder."),
    Family("wardround_roster_site_online", "Whether an admitted site is connected.", ("site",)),
    Family("wardround_roster_site_expiry_timestamp_seconds", "When a site's place on the roster ends.", ("site",)),
    Family("wardround_certificate_expiry_timestamp_seconds", "When the certificate of this code ends.", ("code",)),
    Family("wardround_studies", "Studies, by state.", ("code",)),
    *STUDY_FAMILIES,
)
_UNREADABLE = "unreadable"


class ServerFigures:
    """One federation's figures.

    Args:
        federation: as it was when the server was started.
        served: what the supervisor counts.
        held_until: until when (Unix seconds) each place at the SuperLink is held, by transport key.
        clock: Unix seconds.
    """

    def __init__(
        self,
        federation: Federation,
        served: Served,
        *,
        held_until: Callable[[], Mapping[str, float]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._federation, self._served, self._held_until, self._clock = federation, served, held_until, clock
        self._roster = LiveRoster(federation)
        self._heart = Heartbeat(lambda: served.turns)
        self._over = {folder.name for folder in all_studies(federation.folder) if _state(folder) in ENDED}
        self._studies: dict[str, StudyFigures] = {}

    def health(self) -> Health:
        """Alive while its loop moves and its SuperLink completes a TLS handshake."""
        if self._heart.stopped():
            return Health(False, "silent")
        return Health(True, "serving") if answers(self._federation) else Health(False, "down")

    def collect(self) -> Iterator["Metric"]:
        """Every figure as it is now."""
        return metrics(FAMILIES, self._samples())

    def _samples(self) -> Iterator[Sample]:
        yield Sample("wardround_superlink_starts_total", self._served.superlinks)
        for study, starts in sorted(self._served.studies.items()):
            yield Sample("wardround_study_starts_total", starts, (study,))
        yield Sample("wardround_disk_free_bytes", shutil.disk_usage(self._federation.folder).free)
        yield from self._sites()
        yield from self._of_studies()

    def _sites(self) -> Iterator[Sample]:
        federation, now = replace(self._federation, roster=self._roster()), self._clock()
        held: Mapping[str, float] = {}
        with contextlib.suppress(WardroundError, RuntimeError):  # while the SuperLink is started anew
            held = self._held_until()
        for entry in federation.roster.entries:
            if entry.valid(now):
                yield Sample("wardround_roster_site_online", held.get(entry.transport_key, 0.0) > now, (entry.site,))
        own = {"server certificate": "server", "authority": "authority"}
        for ending in endings(federation):
            if ending.name in own:
                yield Sample("wardround_certificate_expiry_timestamp_seconds", ending.at, (own[ending.name],))
            else:
                yield Sample("wardround_roster_site_expiry_timestamp_seconds", ending.at, (ending.name,))

    def _of_studies(self) -> Iterator[Sample]:
        states = {folder: _state(folder) for folder in all_studies(self._federation.folder)}
        number = Counter(states.values())
        for code in (*(state.value for state in StudyState), _UNREADABLE):
            yield Sample("wardround_studies", number[code], (code,))
        key = self._federation.coordinator_keys
        for folder, state in states.items():
            if state not in ENDED:
                self._over.discard(folder.name)
            if folder.name not in self._over and state != _UNREADABLE:
                figures = self._studies.setdefault(folder.name, StudyFigures(folder, public_key=key))
                yield from figures.samples(state)
        here = {folder.name for folder in states}
        self._studies = {name: figures for name, figures in self._studies.items() if name in here}


def _state(folder: StudyFolder) -> str:
    try:
        return folder.standing().state.value
    except WardroundError:
        return _UNREADABLE
