"""Live progress of a demo's study on the console: one line per site, one bar for the rounds."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from server.cli.standing import WORDS
from server.study_folder import ENDED, StudyFolder, StudyState
from shared.errors import StudyError

TURN_S = 0.25


def follow(folder: StudyFolder, *, console: Console, patience_s: float, check: Callable[[], None]) -> None:
    """Show a study until it is finished.

    Args:
        folder: the study.
        console: where to draw; nothing is drawn where it is no terminal.
        patience_s: how long the study may take, in seconds.
        check: called at every turn; raises if the federation broke.

    Raises:
        StudyError: the study failed, was stopped, or took too long.
    """
    deadline = time.monotonic() + patience_s
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[sites]}"),
        console=console,
    )
    shown: AbstractContextManager[object] = progress if console.is_terminal else nullcontext()
    with shown:
        task = progress.add_task("rounds", total=folder.study().rounds.count, sites="sites connect")
        while (standing := folder.standing()).state not in ENDED:
            check()
            live = folder.read_status()
            words = [WORDS.get(site["phase"], site["phase"]) for site in live.get("sites", [])]
            busy = ", ".join(f"{words.count(w)} {w}" for w in dict.fromkeys(words))
            progress.update(task, completed=live.get("committed", 0), sites=busy)
            if time.monotonic() > deadline:
                raise StudyError("The demo's study took too long.", remedy="Read the logs in the demo's folder.")
            time.sleep(TURN_S)
    if standing.state is not StudyState.FINISHED:
        raise StudyError(standing.reason or "The study ended early.", remedy=standing.remedy or "Read the logs.")
