"""A process that must not outlive the one that started it, however that one ends.

Works on every POSIX system, within a second. Where the kernel can do it at once, and the command is
another program's, `server/engine/leash.py` asks the kernel.
"""

import os
import threading
import time

LOOK_EVERY_S = 1.0
PARENT_VARIABLE = "WARDROUND_ENDS_WITH_PARENT"  # the parent's process id, set by who starts a command


def end_if_asked() -> None:
    """`end_with_parent`, if this process's parent asked for it in the environment of the command."""
    parent = os.environ.get(PARENT_VARIABLE, "")
    if parent.isdecimal():
        end_with_parent(int(parent))


def end_with_parent(parent: int | None = None) -> None:
    """From now on, end this process when its parent is gone, without tidying up: what is durable is on disk.

    Args:
        parent: its process id, where it may have ended before this is called.
    """
    parent = parent or os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
