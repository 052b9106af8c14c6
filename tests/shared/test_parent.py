"""A process bound to its parent goes when the parent goes, however that happened."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

PATIENCE_S = 60.0
CHILD = """
import os, time
from shared.parent import PARENT_VARIABLE, end_if_asked, end_with_parent
{bind}
print("up", flush=True)
time.sleep(600)
"""
ASKED = "os.environ[PARENT_VARIABLE] = str(os.getppid()); end_if_asked()"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def family(bind: str) -> tuple[subprocess.Popen[bytes], psutil.Process]:
    code = PARENT.format(child=CHILD.format(bind=bind))
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as line:
        return parent, psutil.Process(int(line.readline()))


def ended(process: psutil.Process, *, patience_s: float) -> bool:
    """Gone, or a zombie that nobody waits for."""
    deadline = time.monotonic() + patience_s
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("number", "bind"), [(signal.SIGKILL, "end_with_parent()"), (signal.SIGTERM, "end_with_parent()"), (9, ASKED)]
)
def test_it_ends_when_its_parent_is_killed(number: int, bind: str) -> None:
    parent, child = family(bind)
    assert not ended(child, patience_s=1.5)  # it lives as long as its parent does
    parent.send_signal(number)
    parent.wait()
    assert ended(child, patience_s=PATIENCE_S)


def test_it_ends_at_once_when_the_parent_named_is_gone_already() -> None:
    code = CHILD.format(bind="end_with_parent(2**22 + 1)")  # beyond Linux's largest process id
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL) as child:
        assert child.wait(PATIENCE_S) == 1


@pytest.mark.parametrize("bind", ["pass", "end_if_asked()"])
def test_without_it_a_child_stays_behind(bind: str) -> None:
    parent, child = family(bind)
    parent.kill()
    parent.wait()
    try:
        assert not ended(child, patience_s=2.5)
    finally:
        child.kill()
