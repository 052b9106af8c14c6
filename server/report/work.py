"""What the study cost: seconds of each site by phase, bytes of updates, and on which machines.

Seconds are those that the sites report, by the round in which they did the work; a replay from a
site's spool is no new work and is left out. Bytes are those of whole updates on the server's disk,
each update once.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median

from server.history import StudyHistory
from server.records import SiteOpened, UpdateAdmitted, UpdateReady, UpdateSpooled
from server.report.evidence import Evidence

Seconds = dict[str, float]  # by phase


@dataclass(frozen=True)
class Machine:
    """What a site computed on, as it said when it opened the study.

    `fell_back`: its configuration says auto, and it found no GPU.
    """

    device: str
    threads: int
    software: dict[str, str]
    fell_back: bool


@dataclass(frozen=True)
class Work:
    """What one site did; `seconds` are medians over its rounds."""

    updates: int
    update_bytes: int
    replays: int
    seconds: Seconds


@dataclass(frozen=True)
class RoundWork:
    """What one site reported of one round; `norm` is that of its update, None if it was not admitted."""

    round: int
    site: str
    examples: int
    patients: int
    steps: int
    update_bytes: int
    replayed: bool
    norm: float | None
    seconds: Seconds


def machine_of(opened: SiteOpened) -> Machine:
    """A site's machine, as it said when it opened the study."""
    return Machine(opened.device, opened.threads, dict(sorted(opened.software.items())), opened.fell_back)


def work_of(evidence: Evidence, site: str) -> Work:
    """What one site did in the whole study."""
    spooled = (record for _, record in evidence.records if isinstance(record, UpdateSpooled))
    sizes = {(said.round, said.update_digest): said.update_bytes for said in spooled if said.site == site}
    reports = [report for report in evidence.history.readies if report.site == site]
    return Work(
        updates=len(sizes),
        update_bytes=sum(sizes.values()),
        replays=sum(report.replayed for report in reports),
        seconds=_medians(reports),
    )


def work_by_round(evidence: Evidence) -> tuple[RoundWork, ...]:
    """Each site's work of each round, once: as it was reported first, and not from the spool if it ever was so."""
    admitted = (record for _, record in evidence.records if isinstance(record, UpdateAdmitted))
    norms = {(said.round, said.site): said.norm for said in admitted}
    reports: dict[tuple[int, str], UpdateReady] = {}
    for report in evidence.history.readies:
        known = reports.get((report.round, report.site))
        if known is None or (known.replayed and not report.replayed):
            reports[report.round, report.site] = report
    return tuple(_round_work(report, norms.get(place)) for place, report in sorted(reports.items()))


def seconds_by_round(history: StudyHistory) -> dict[int, Seconds]:
    """By round, the median over its sites of each phase."""
    by_round: dict[int, list[UpdateReady]] = {}
    for report in history.readies:
        by_round.setdefault(report.round, []).append(report)
    return {number: _medians(reports) for number, reports in sorted(by_round.items())}


def _round_work(report: UpdateReady, norm: float | None) -> RoundWork:
    said = report.model_dump(include={"round", "site", "examples", "patients", "steps", "update_bytes", "replayed"})
    return RoundWork(**said, norm=norm, seconds=dict(sorted(report.seconds.items())))


def _medians(reports: Iterable[UpdateReady]) -> Seconds:
    phases: dict[str, list[float]] = {}
    for report in reports:
        for phase, seconds in report.seconds.items() if not report.replayed else ():
            phases.setdefault(phase, []).append(seconds)
    return {phase: median(values) for phase, values in sorted(phases.items())}
