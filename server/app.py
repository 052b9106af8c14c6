"""The ServerApp that Flower starts: finds its study, takes ownership, and lets the conductor work.

Flower hands over the Grid and the run's configuration; which federation it serves comes from the
supervisor's environment, never from the run, because the engine's control port knows no callers.
What the study's process says, and how it fails, stands in the study's own `log`: the engine keeps
the standard output of its runs to itself.
"""

import contextlib
import os
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from shared.parent import end_with_parent
from shared.remarks import to_line

if TYPE_CHECKING:
    from server.study_folder import StudyFolder

FEDERATION_VARIABLE = "WARDROUND_FEDERATION"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one study as the engine's child, to its end, or until another owner takes over."""
    end_with_parent()  # the engine; a new owner is on its way then
    serve(grid, Path(os.environ[FEDERATION_VARIABLE]), str(context.run_config["study"]))


def serve(grid: Grid, federation: Path, study: str) -> None:
    """Run one study in this process, to its end, or until another owner takes over."""
    from server.conduct import conduct
    from server.study_folder import find_study

    folder = find_study(federation, study)
    say = partial(_say, folder)
    try:
        conduct(federation, folder, grid, say=say)
    except Exception:
        _write(folder.path / "log", traceback.format_exc())
        raise


def _say(folder: "StudyFolder", line: str) -> None:
    """Into the study's `log` for a person, and as a remark for the supervisor, whose console and log have it, too."""
    from server.study_folder import REMARKS_FILE

    _write(folder.path / "log", line)
    _add(folder.path / REMARKS_FILE, to_line(line))


def _write(log: Path, line: str) -> None:
    from shared.clock import utc_now

    _add(log, f"{utc_now()} {line}")


def _add(file: Path, line: str) -> None:
    with contextlib.suppress(OSError), file.open("a", encoding="utf-8") as opened:  # a full disk ends no study
        print(line, file=opened)
