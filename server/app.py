"""The ServerApp that Flower starts: finds its study, takes ownership, and lets the conductor work.

Flower hands over the Grid and the run's configuration; which federation it serves comes from the
supervisor's environment, never from the run, because the engine's control port knows no callers.
"""

import os
import sys
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

FEDERATION_VARIABLE = "WARDROUND_FEDERATION"

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one study to its end, or until another owner takes over."""
    from server.conduct import conduct
    from server.study_folder import find_study

    federation = Path(os.environ[FEDERATION_VARIABLE])
    folder = find_study(federation, str(context.run_config["study"]))
    conduct(federation, folder, grid, say=_say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
