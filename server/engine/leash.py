"""Run a command that the kernel ends when its parent dies, also by ``kill -9``.

    python leash.py PARENT_PID COMMAND [ARGUMENT ...]

Only Linux has this (prctl(2), PR_SET_PDEATHSIG); elsewhere the command simply runs, and a supervisor
that was killed finds it at its next start. The signal follows the thread that started this process:
start it from one that lives as long as the supervisor.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Bind this process to its parent and become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
