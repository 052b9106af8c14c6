"""The figures that a site shows to its own house's monitoring; what they are for stands in `docs/operation.md`.

They are counts, sizes and times of the agent's work, under the site's name, the name of the study in hand and codes of
refusals, which `shared/fields.py` and `shared/errors.py` bound. There is no figure of a patient, and none of the
privacy that is left: the least that any patient has left is that one patient's.
"""

import contextlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from client.admission import load_admission
from client.receipts import LEDGER_FILE
from client.site import Site
from shared.certificates import ends_at
from shared.disks import bytes_under
from shared.errors import WardroundError
from shared.figures import Family, Sample, metrics
from shared.keys import transport_pem
from shared.ledger import Entry, entry_of, read_whole_lines
from shared.monitoring import Health, Heartbeat

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_SITE: Any = ("site",)
_WORK: Any = ("site", "study")
FAMILIES = (
    Family("wardround_site_connected", "Whether the line to the server works.", _SITE),
    Family("wardround_site_sent_bytes_total", "Bytes sent to the server since the agent started.", _SITE),
    Family("wardround_site_received_bytes_total", "Bytes received from the server since the agent started.", _SITE),
    Family("wardround_site_queued_messages", "Messages of the server that wait to be taken up.", _SITE),
    Family("wardround_site_unsent_answers", "Released answers that wait for the line.", _SITE),
    Family("wardround_site_worker_up", "Whether a worker process runs.", _SITE),
    Family("wardround_site_worker_crashes_total", "Workers that ended by themselves since the agent started.", _SITE),
    Family("wardround_site_round", "Round of the study in hand.", _WORK),
    Family("wardround_site_steps", "Training steps done of the work in hand.", _WORK),
    Family("wardround_site_planned_steps", "Training steps planned of the work in hand.", _WORK),
    Family("wardround_site_last_step_timestamp_seconds", "When the work in hand last gave a sign of life.", _WORK),
    Family("wardround_site_updates_released_total", "Updates that left since the agent started.", _SITE),
    Family("wardround_site_refusals_total", "Answers that said no since the agent started.", ("site", "code")),
    Family("wardround_site_open_studies", "Studies that are open here.", _SITE),
    Family("wardround_site_awaited_approvals", "Studies that wait for a person's yes.", _SITE),
    Family("wardround_site_ledger_entries", "Entries of the ledger.", _SITE),
    Family("wardround_site_spool_bytes", "Size of the spool.", _SITE),
    Family("wardround_site_disk_free_bytes", "Room on the disk under the site's folder.", _SITE),
    Family("wardround_site_certificate_expiry_timestamp_seconds", "When the site's certificate ends.", _SITE),
)


class SiteFigures:
    """One site's figures.

    Args:
        site: its parts.
        said: what the agent last said of itself, as in `status.json`; empty before.
        moved: what changes while the agent works.
    """

    def __init__(self, site: Site, *, said: Callable[[], Mapping[str, Any]], moved: Callable[[], object]) -> None:
        self._site, self._said = site, said
        self._heart = Heartbeat(moved)
        self._counts = LedgerCounts(site.folder / LEDGER_FILE)

    def health(self) -> Health:
        """Alive while its loop moves; a site whose line is down is alive, and starting it again would mend nothing."""
        if self._heart.stopped():
            return Health(False, "silent")
        state = str(self._said().get("state", "starting"))
        return Health(state not in ("starting", "stopped"), state)

    def collect(self) -> Iterator["Metric"]:
        """Every figure as it is now."""
        said = self._said()
        values = {**self._line(said), **self._books(), **self._disk()}
        name = self._site.name
        samples = [Sample(f"wardround_site_{key}", value, (name,)) for key, value in values.items()]
        if study := said.get("study"):
            work = _work(said).items()
            samples += [Sample(f"wardround_site_{key}", value, (name, study)) for key, value in work]
        refusals = sorted(self._counts.refusals.items())
        samples += [Sample("wardround_site_refusals_total", count, (name, code)) for code, count in refusals]
        return metrics(FAMILIES, samples)

    def _line(self, said: Mapping[str, Any]) -> dict[str, float]:
        traffic = self._site.link.traffic
        return {
            "connected": said.get("state", "starting") not in ("starting", "offline", "stopped"),
            "sent_bytes_total": traffic.bytes_up,
            "received_bytes_total": traffic.bytes_down,
            "queued_messages": said.get("queued", 0),
            "unsent_answers": said.get("unsent", 0),
            "worker_up": self._site.worker.pid is not None,
        }

    def _books(self) -> dict[str, float]:
        site, counts = self._site, self._counts
        counts.read()
        return {
            "worker_crashes_total": counts.crashes,
            "updates_released_total": counts.updates,
            "open_studies": len(site.studies.active()),
            "awaited_approvals": sum(1 for _ in site.approvals.waiting()),
            "ledger_entries": site.ledger.count,
        }

    def _disk(self) -> dict[str, float]:
        folder, ends, enrolment = self._site.folder, {}, self._site.enrolment
        key = transport_pem(enrolment.transport_key.public_key())
        with contextlib.suppress(WardroundError):  # read anew: a message may have brought a later one
            if (admission := load_admission(folder, enrolment.invitation, transport_key=key)) is not None:
                ends["certificate_expiry_timestamp_seconds"] = ends_at(admission.certificate.encode())
        return {
            "spool_bytes": bytes_under(folder / "spool"),
            "disk_free_bytes": shutil.disk_usage(folder).free,
            **ends,
        }


class LedgerCounts:
    """Counts of what is written into a ledger from now on.

    Attributes:
        updates: that left.
        crashes: of the worker.
        refusals: answers that said no, by code; those that say the same "not yet" again are not counted.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger, self._at = ledger, ledger.stat().st_size
        self.updates = self.crashes = 0
        self.refusals: Counter[str] = Counter()

    def read(self) -> None:
        """Take in what was added."""
        for line in read_whole_lines(self._ledger, start=self._at):
            self._at += len(line)
            if (entry := entry_of(line, ("release", "worker_restarted"))) is not None:
                self._take(entry)

    def _take(self, entry: Entry) -> None:
        if entry.type == "worker_restarted":
            self.crashes += 1
        elif code := entry.data.get("refusal"):
            self.refusals[code] += 1
        elif entry.data["update_digest"]:
            self.updates += 1


def _work(said: Mapping[str, Any]) -> dict[str, float]:
    stepped = said.get("stepped")
    found = {
        "round": said.get("round"),
        "steps": said.get("steps"),
        "planned_steps": said.get("steps_planned"),
        "last_step_timestamp_seconds": datetime.fromisoformat(stepped).timestamp() if stepped else None,
    }
    return {key: value for key, value in found.items() if value is not None}
