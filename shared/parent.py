"""A process that must not outlive the one that started it, however that one ends.

Works on every POSIX system, within a second. Where the kernel can do it at once, and the command is
another program's, `server/leash.py` asks the kernel.
"""

import os
import threading
import time

LOOK_EVERY_S = 1.0


def end_with_parent() -> None:
    """From now on, end this process when its parent is gone, without tidying up: what is durable is on disk."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
