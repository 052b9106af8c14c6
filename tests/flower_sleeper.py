"""A ServerApp that does nothing until it is ended."""

import time

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    time.sleep(600)
