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

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from shared.parent import end_with_parent

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
    say = partial(_say, folder.path / "log")
    try:
        conduct(federation, folder, grid, say=say)
    except Exception:
        say(traceback.format_exc())
        raise


def _say(log: Path, line: str) -> None:
    from server.desk import utc_now

    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:  # a full disk ends no study
        print(f"{utc_now()} {line}", file=file)
