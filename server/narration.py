"""What an entry of a journal says, in the plain words of one line.

Every kind of record has its own words; a kind that is not known here is told by its name. The time of an
entry, and its place in the chain, are told by `server/log.py`.
"""

from collections.abc import Iterable, Iterator
from typing import Any, get_args

from server.drift import Finding
from server.ledger_records import HeadsNoted, SiteClosed, TailLost
from server.record import Record
from server.records import (
    EpochClaimed,
    ModelChosen,
    OwnModelCompared,
    OwnModelMade,
    OwnModelScored,
    RehearsalClosed,
    RehearsalOpened,
    RoundCommitted,
    RoundFailed,
    RoundOpened,
    SiteHeld,
    SiteLost,
    SiteOpened,
    SiteRefused,
    SiteRehearsed,
    SiteScored,
    SiteValidated,
    Split,
    StudyAmended,
    StudyFailed,
    StudyFinished,
    StudyPaused,
    StudyStarted,
    StudyStopped,
    TrainingEnded,
    UpdateAdmitted,
    UpdateReady,
    UpdateRefused,
    UpdateSpooled,
)
from server.report.unusual import told_shortly
from server.report.words import (
    METRICS,
    counted,
    duration,
    model_after,
    plain,
    share,
    size,
    why_chosen,
    why_ended,
)
from server.rounds import Phase
from shared.metrics import MERITS
from shared.rehearsal import MEANINGS, Code

SPLITS: tuple[Split, ...] = get_args(Split)


def told(record: Record, *, rehearsed: bool = False) -> str:
    """One record in plain words, without its round and time; the end of what was only rehearsed has its own."""
    if rehearsed and isinstance(record, StudyFinished):
        return "the rehearsal is finished, and what was made for it is thrown away"
    parts = (_of_study, _of_rehearsal, _of_site, _of_update, _of_ledger, _of_round, _of_selection, _of_own_model)
    return next((words for part in parts if (words := part(record))), None) or _by_name(record)


def told_by_ledger(entry_type: str, data: dict[str, Any]) -> str:
    """An entry that is no record: what the chain writes for itself, or what a later version wrote."""
    match entry_type:
        case "head":
            return "the coordinator signs the journal up to here"
        case "cut":
            return f"a crash tore off the last line, {data.get('bytes', 0)} bytes of it"
    return entry_type.replace("_", " ")


def told_unusual(found: Iterable[Finding]) -> Iterator[str]:
    """What is unusual at single sites, one line each; what moved all sites alike is left out."""
    return (f"{finding.site}: unusual {told_shortly(finding)}" for finding in found if not finding.alike)


def _of_study(record: Record) -> str | None:
    match record:
        case StudyStarted():
            return f"the study starts with {_names(record.cohort)}"
        case EpochClaimed():
            return f"process {record.pid} takes the study over, epoch {record.epoch}"
        case StudyFinished():
            return f"the study is finished; its model is {record.model_digest[:12]}"
        case StudyPaused():
            return "the study is paused; the sites keep it open"
        case StudyStopped() | StudyFailed():
            return f"the study {'fails' if isinstance(record, StudyFailed) else 'is stopped'}: {record.reason}"
    return None


def _of_rehearsal(record: Record) -> str | None:
    match record:
        case RehearsalOpened():
            return f"the study is rehearsed; a site may take {duration(record.deadline_s)}"
        case SiteRehearsed():
            wrong = [MEANINGS[code].what for code in record.findings.values() if code is not Code.PASS]
            time = "" if record.work_s is None else f"; a round takes it {duration(record.work_s)}"
            return f"{record.site} has rehearsed: {' '.join(wrong) or 'all is well'}{time}"
        case RehearsalClosed():
            return f"the rehearsal is over{_without(record.missing)}"
    return None


def _of_site(record: Record) -> str | None:
    match record:
        case SiteOpened():
            patients = ", ".join(f"{record.patients.get(split, 0):,} {split}" for split in SPLITS)
            return f"{record.site} opens; patients: {patients if record.patients else 'withheld'}"
        case SiteHeld() | SiteRefused():
            no, why = ("no", record.cause) if isinstance(record, SiteRefused) else ("not yet", record.code.value)
            return f"{record.site} says {no}: {plain(why)}"
        case SiteLost():
            return f"{record.site} is lost: {plain(record.cause)}"
        case SiteScored():
            return f"{record.site} scores the model{_areas(record)}"
        case SiteClosed():
            return f"{record.site} puts the study away"
    return None


def _of_selection(record: Record) -> str | None:
    match record:
        case TrainingEnded():
            return f"training ends: {why_ended(record)}"
        case SiteValidated():
            return f"{record.site} scores {model_after(record.model)}{_areas(record)}"
        case ModelChosen():
            return f"{model_after(record.round)} is chosen: {why_chosen(record)}"
    return None


def _of_own_model(record: Record) -> str | None:
    match record:
        case OwnModelMade():
            return f"the own model of {record.of} is made: the last round with its update alone"
        case OwnModelScored():
            return f"{record.site} scores the own model of {record.of}{_areas(record)}"
        case OwnModelCompared():
            return f"the own model of {record.of} is compared{_without(record.missing)}"
    return None


def _of_update(record: Record) -> str | None:
    match record:
        case UpdateReady():
            images = [counted(record.examples, "image")] if record.examples else []
            took = [duration(sum(record.seconds.values()))] if record.seconds else []
            how = ["from its spool"] if record.replayed else took
            return f"{record.site} is ready: {', '.join([*images, counted(record.steps, 'step'), *how])}"
        case UpdateSpooled():
            return f"{record.site}'s update is here, {size(record.update_bytes)}"
        case UpdateAdmitted():
            return f"{record.site}'s update is admitted, norm {record.norm:.3g}{_late(record)}"
        case UpdateRefused():
            return f"{record.site}'s update is refused: {plain(record.reasons[0].value)}"
    return None


def _of_ledger(record: Record) -> str | None:
    match record:
        case HeadsNoted():
            return f"the heads of {counted(len(record.heads), 'ledger')} are noted"
        case TailLost():
            return f"{record.site} declares that it lost the end of its ledger, at most {record.lost.most:,} entries"
    return None


def _of_round(record: Record) -> str | None:
    match record:
        case StudyAmended():
            return f"amendment {record.number}: {record.rounds} rounds, deadline {duration(record.deadline_s)}"
        case RoundOpened():
            return f"the round opens for {_names(record.cohort)}"
        case RoundCommitted():
            still = [site for site, cause in record.late.items() if cause == Phase.ASKED]
            without = [site for site in (*record.late, *record.refused, *record.absent) if site not in still]
            work = f"; still at work: {_names(still)}" if still else ""
            return f"the round is committed: {_names(record.counted)}{work}{_without(without)}"
        case RoundFailed():
            return f"the round fails: {_names(record.counted) or 'nobody'} counted{_without(record.missing)}"
    return None


def _by_name(record: Record) -> str:
    site = getattr(record, "site", None)
    return (f"{site}: " if site else "") + record.entry_type().replace("_", " ")


def _late(record: UpdateAdmitted) -> str:
    return f"; it is of round {record.late_from} and weighs {record.discount:.0%}" if record.late_from else ""


def _names(sites: Iterable[str]) -> str:
    return ", ".join(sites)


def _without(sites: Iterable[str]) -> str:
    return f"; without {names}" if (names := _names(sites)) else ""


def _areas(record: SiteScored | SiteValidated | OwnModelScored) -> str:
    told = [(s.split, merit, s.figures[merit]) for s in record.scores for merit in MERITS if merit in s.figures]
    areas = [f"{split} {share(value)}" for split, _, value in told]
    kept = f"; withheld: {', '.join(record.withheld)}" if record.withheld else ""
    return (f"; {METRICS[told[0][1]]} {', '.join(areas)}" if told else "") + kept
