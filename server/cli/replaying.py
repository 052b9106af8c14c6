"""`wardround study replay`: a finished study again, and whether the same came of it."""

from dataclasses import asdict
from pathlib import Path

import typer
from rich.console import Group
from rich.text import Text

from server.cli.arguments import HERE, Federation, Name, about
from server.cli.running import follow, one_in
from server.replay import Difference, Replayed, compare_runs, replay_of
from server.report.words import counted
from server.study_folder import StudyFolder, StudyState, all_studies
from shared.console import Answer, answering, progress_console, table
from shared.errors import StudyError

REPEATS = "Nothing: a buffered study takes updates as they come, and repeats only where they come alike."

app = typer.Typer()


@app.command()
@answering("study.replay")
def replay(name: Name, federation: Federation = HERE) -> Answer:
    """Run a finished study again at its sites, and say whether every model is the same byte for byte."""
    from server.backbones import BACKBONE
    from server.clone import toml_of
    from server.journal import read_history
    from server.launch import START_MODEL, launch
    from shared.clock import utc_now

    first, _ = one_in(federation, name, {StudyState.FINISHED}, "replayed")
    before, study = read_history(first.journal), first.study()
    if study.privacy is not None:
        raise StudyError(
            f"{name} trains privately, so nobody can repeat it: its noise comes from the sites' own entropy.",
            remedy="Do not run it again to compare: the patients would pay twice. Its journal names every update.",
        )
    assert before.started is not None  # a finished study has begun
    again = replay_of(study, before.started.cohort, taken={other.name for other in all_studies(federation)})
    start = first.path / START_MODEL if study.model.start_sha256 else None
    backbone = first.path / BACKBONE if study.backbone else None
    if study.rounds.buffer is not None:
        progress_console().print("This study is buffered: it repeats only as far as updates come in the same rounds.")
    source = f"# A replay of {name}.\n{toml_of(again, again.name)}"
    folder = launch(federation, again, source=source, start_model=start, backbone=backbone, now=utc_now())
    _finish(folder, federation)
    found = compare_runs(before, read_history(folder.journal))
    return answer_of(name, folder.name, found, buffered=study.rounds.buffer is not None)


def _finish(folder: StudyFolder, federation: Path) -> None:
    """Follow the replay to its end; Ctrl-C leaves it running.

    Raises:
        StudyError: it did not finish.
    """
    state = follow(folder, federation)["state"]
    if state != StudyState.FINISHED:
        remedy = f"See `{about('status', folder.name, federation)}`; then replay again."
        raise StudyError(f"The replay {folder.name} is {state}, so nothing was compared.", remedy=remedy)


def answer_of(name: str, replayed: str, found: Replayed, *, buffered: bool = False) -> Answer:
    """What differs first, if anything does, and then the verdict."""
    data = {"study": name, "replay": replayed, "bit_identical": found.bit_identical, **asdict(found)}
    shown = [_differences(found.differ)] if found.differ else []
    if found.bit_identical:
        words = f"{replayed} is {name} again, byte for byte: the start model and {found.rounds} rounds."
        return Answer(data, Group(*shown, Text(words)))
    where = _where(found)
    if buffered and (fault := _by_arrivals(found)):
        error = StudyError(f"{replayed} differs from {name} first {where}: {fault}.", remedy=REPEATS)
        return Answer(data, Group(*shown), error)
    why = "See what differs above." if found.differ else "Nothing else differs: look for kernels that do not repeat."
    error = StudyError(f"{replayed} differs from {name} first {where}.", remedy=why)
    return Answer(data, Group(*shown), error)


def _by_arrivals(found: Replayed) -> str | None:
    """What explains the difference, if other updates counted before or in the first round that differs."""
    if found.other_updates is None or found.first_difference != found.other_updates:
        return None
    same = found.first_difference - 1
    before = (
        f"the {counted(same, 'model')} before it {'is' if same == 1 else 'are'} the same" if same else "from the start"
    )
    return f"other updates came in there, {before}, and nothing is wrong with the model"


def _where(found: Replayed) -> str:
    if found.first_difference is None:
        return "in which model was chosen"
    return f"in round {found.first_difference}" if found.first_difference else "in the start model"


def _differences(differ: tuple[Difference, ...]) -> Group:
    rows = ((d.site or f"round {d.round}", d.what, d.before, d.now) for d in differ)
    return Group(table(("where", "what", "before", "now"), rows), Text())
