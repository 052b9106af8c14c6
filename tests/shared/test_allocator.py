"""Freed blocks of an object's size are used again; without being told so, glibc fetches fresh pages each time."""

import os
import platform
import resource
import subprocess
import sys

import pytest

from shared.allocator import VARIABLES

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")

COPIES, TURNS = 5, 40
WORK = f"""
import resource
{{first}}
for _ in range({TURNS}):
    held = [bytes([number]) * 2_000_000 for number in range({COPIES})]
    del held
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""
PAGES = COPIES * TURNS * 2_000_000 // resource.getpagesize()  # of all copies


def faults(first: str = "", **variables: str) -> int:
    """Pages that a process asked the kernel for while it copied and forgot."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", WORK.format(first=first)], env=plain | variables, capture_output=True, check=True
    )
    return int(done.stdout)


def test_a_process_keeps_what_it_freed():
    kept = faults("from shared.allocator import reuse_freed_memory; assert reuse_freed_memory()")
    assert kept < PAGES / 3 < faults()


def test_a_child_is_told_by_its_environment():
    assert faults(**VARIABLES) < PAGES / 3
