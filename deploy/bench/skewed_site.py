"""A site whose computer's clock can be set wrong: `python -m deploy.bench.skewed_site SITE_FOLDER CLOCK_FILE`.

Everything is the real site's. Only its clock is this computer's plus the seconds that the clock file
says, which may change at any moment.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

from client.agent import Agent
from client.site import open_site
from shared.parent import end_if_asked


def main(folder: Path, clock_file: Path) -> None:
    """Serve as the site until SIGTERM."""

    def clock() -> float:
        with contextlib.suppress(OSError, ValueError):
            return time.time() + float(clock_file.read_text())
        return time.time()

    end_if_asked()
    os.umask(0o077)
    agent = Agent(open_site(folder, say=lambda line: print(line, file=sys.stderr, flush=True), clock=clock))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    agent.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
