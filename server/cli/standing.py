"""Where a study stands, as a program and as a person read it.

A server that was killed leaves a state and a live view behind that say it runs. So the view is shown only
while nothing says that nobody serves (`server/cli/waiting.py`).
"""

from collections.abc import Iterable, Mapping, Set
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from server.cli.waiting import UNSERVED, age_s, is_silent, waits_of
from server.progress import Progress
from server.records import ModelChosen, TrainingEnded
from server.report.privacy import WITHHELD, Privacy, privacy_of
from server.report.unusual import question, told
from server.report.words import (
    METRICS,
    by_name,
    counted,
    duration,
    mean_over,
    model_after,
    plain,
    share,
    size,
    why_chosen,
    why_ended,
)
from server.rounds import Phase
from server.study_folder import ENDED, StudyFolder, StudyState
from shared.console import facts, printable, table
from shared.metrics import MERITS
from shared.study import Study
from shared.tasks import task_for

WORDS = {
    "waiting": "not connected yet",
    "asked": "working",
    "ready": "waits for a slot",
    "granted": "sending",
    "spooled": "being checked",
    "admitted": "done",
    "refused": "refused",
    "lost": "line lost",
}
_HELD = {"awaits_approval": "waits for approval", "out_of_hours": "waits for its hours", "paused": "paused by its IT"}
_BAR = 30  # characters
_STAGES = {
    "open": "opening",
    "train": "training",
    "validate": "scoring models on validation patients",
    "evaluate": "scoring the final model",
    "close": "closing",
    "rehearse": "rehearsing",
}


def standing_of(folder: StudyFolder, *, federation: Path, progress: Progress | None = None) -> dict[str, Any]:
    """A study's state, live view and progress as JSON values, and `waits`: what it waits for, if anything."""
    standing, study = folder.standing(), folder.study()
    live = {"round": 0, "rounds": study.rounds.count, "committed": 0, "sites": []} | folder.read_status()
    waits = [asdict(wait) for wait in waits_of(folder, standing, live, federation=federation)]
    if standing.state in ENDED:  # the last view was written while the closing trip went on
        live |= {"sites": [], "closes_in_s": None, "closes_with": None}
    data = live | {"study": folder.name, "rehearsal": folder.rehearsal() is not None} | standing.model_dump(mode="json")
    data |= {"state_age_s": round(age_s(standing.since), 1), "waits": waits}
    if progress is None:
        return data
    unusual = [asdict(found) | {"words": told(found), "ask": question(found)} for found in progress.unusual]
    return data | {"progress": _progress(progress, study, data), "unusual": unusual}


def show_standing(data: Mapping[str, Any]) -> Group:
    """A study's standing for 80 columns: how far it is, one line per site, per thing that waits or is unusual."""
    head = {"study": data["study"], "state": data["state"]}
    head["rounds"] = "none: this is a rehearsal" if data["rehearsal"] else _rounds(data["committed"], data["rounds"])
    if data["state"] in ENDED and data.get("reason"):
        head |= {"because": data["reason"]} | ({"what to do": data["remedy"]} if data["remedy"] else {})
    parts: list[RenderableType] = [facts(head | _figures(data) | _decided(data))]
    unusual = () if data["state"] in ENDED else data.get("unusual", ())  # then the report tells it
    if data["waits"]:  # above the sites, of which a terminal may be too short to show all
        parts += [Text(), show_waits(("waits", wait) for wait in data["waits"])]
    if data["state"] == StudyState.RUNNING and not _unserved(data):
        parts += [Text(f"\n{_where(data)}"), _sites(data["sites"], {found["site"] for found in unusual})]
    if unusual:
        parts += [Text(), _unusual(unusual)]
    return Group(*parts)


def show_waits(waits: Iterable[tuple[str, Mapping[str, Any]]]) -> Table:
    """What waits, each behind a word: why, since when, and what whom should do."""
    lines = ((word, f"{wait['why']}, for {duration(wait['since_s'])}. {wait['do']}") for word, wait in waits)
    return _lines(lines, style="bold yellow")


def _progress(progress: Progress, study: Study, data: Mapping[str, Any]) -> dict[str, Any]:
    task = task_for(study.task)
    scored = progress.validation(task)
    left = 0 if data.get("trained") else max(study.rounds.count - data["committed"], 0)
    privacy = privacy_of(study, committed=data["committed"])
    return {
        "privacy": None if privacy is None else asdict(privacy),
        "median_round_s": progress.median_round_s,
        "left_s": progress.left_s(left),
        "received_bytes": progress.received_bytes,
        "sent_bytes": data.get("sent_bytes", 0),
        "validation": None if scored is None else asdict(scored, dict_factory=by_name(task.merit)),
        "withheld": progress.withheld,
    }


def _figures(data: Mapping[str, Any]) -> dict[str, str]:
    found = data.get("progress")
    if not found:
        return {}
    shown = {"traffic": f"{size(found['received_bytes'])} received, {size(found['sent_bytes'])} sent"}
    if found["median_round_s"] is not None:
        typical = f"a round takes {duration(found['median_round_s'])}"
        left = f", the rest about {duration(found['left_s'])}" if data["state"] == StudyState.RUNNING else ""
        shown["time"] = typical + left
    if found["privacy"]:
        shown |= {"privacy": Privacy(**found["privacy"]).words, "validation": WITHHELD}
    if scored := found["validation"]:
        after = f"after round {scored['model']}" if scored["model"] else "start model"
        merit = next(merit for merit in MERITS if merit in scored)
        name, sites = METRICS[merit], f", {counted(scored['sites'], 'site')}"
        if scored["how"] == "mean":
            name, sites = mean_over(scored["sites"], name), ""
        shown["validation"] = f"{name} {share(scored[merit])}, {after}{sites}"
    if found["withheld"]:
        shown["withheld"] = f"by {', '.join(found['withheld'])}: too few patients, in all or on one side of a class"
    return shown


def _decided(data: Mapping[str, Any]) -> dict[str, str]:
    """Why no more rounds are run, and which model is the final one, if that was decided."""
    shown = {}
    if data.get("trained"):
        shown["training"] = why_ended(TrainingEnded.model_validate(data["trained"]))
    if data.get("chosen"):
        chosen = ModelChosen.model_validate(data["chosen"])
        shown["chosen"] = f"{model_after(chosen.round)}: {why_chosen(chosen)}"
    return shown


def _rounds(committed: int, planned: int) -> str:
    done = _BAR * committed // max(planned, 1)
    return f"{committed} of {planned}  {'━' * done}{'─' * (_BAR - done)}"


def _where(data: Mapping[str, Any]) -> str:
    stage = data.get("stage")
    if stage is None:
        return "starting"
    here = f"round {data['round']} of {data['rounds']}" if stage == "train" else _STAGES.get(stage, stage)
    closes, full = data.get("closes_in_s"), data.get("closes_with")
    if closes is None:
        return here
    first = f"with {counted(full, 'site')}, and " if full else ""
    return f"{here}, closes {first}in {duration(max(closes, 0.0))} at the latest"


def _unusual(found: Iterable[Mapping[str, Any]]) -> Table:
    """What each site did otherwise than it used to, and what to ask it; `~` marks these sites above."""
    return _lines((("~ unusual", f"{one['site']}: {one['words']}. {one['ask']}") for one in found), style="bold")


def _lines(lines: Iterable[tuple[str, str]], *, style: str) -> Table:
    """A word and what is said to it, folded beneath itself."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style=style)
    grid.add_column(overflow="fold")
    for word, said in lines:
        grid.add_row(Text(word), Text(printable(said)))
    return grid


def _sites(sites: Iterable[Mapping[str, Any]], unusual: Set[str]) -> Table:
    rows = (
        (s["site"], _doing(s) + " ~" * (s["site"] in unusual), duration(s["seconds"]), _sign_of_life(s)) for s in sites
    )
    return table(("site", "is", "for", "last sign of life"), rows)


def _doing(site: Mapping[str, Any]) -> str:
    phase = str(site["phase"])
    doing = "silent" if is_silent(site) else WORDS.get(phase, phase)
    cause, since = site["cause"], site.get("late_since")
    if site.get("held") and not is_silent(site):
        return _HELD[site["held"]]
    if since and phase == Phase.ASKED and not is_silent(site):
        return f"still working, since round {since}"
    return f"{doing}: {plain(cause)}" if cause and phase != "lost" else doing


def _sign_of_life(site: Mapping[str, Any]) -> str:
    """The age of its last heartbeat, where the view knows it."""
    age = site.get("last_sign_s")
    if age is None:
        return "connected" if site["online"] else "none"
    return f"{duration(age)} ago"


def _unserved(data: Mapping[str, Any]) -> bool:
    return any(wait["why"] == UNSERVED for wait in data["waits"])
