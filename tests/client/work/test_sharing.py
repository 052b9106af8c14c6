"""A worker yields to the clinic's own programs; what needs a GPU is marked so."""

import subprocess
import sys

import pytest
import torch

from client.settings import ComputeSettings
from client.work.sharing import keep_within, wait_until_free
from shared.errors import Refusal, WireCode

YIELDS = """
import os, psutil
from client.settings import ComputeSettings
from client.work.sharing import yield_to_others
before = os.nice(0)
yield_to_others(ComputeSettings(nice={nice}))
print(before, os.nice(0), *psutil.Process().ionice())
"""


def yielded(nice: int) -> list[int]:
    code = YIELDS.format(nice=nice)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


def test_a_nice_worker_yields_the_processor_and_the_disk() -> None:
    before, after, io_class, level = yielded(11)
    assert after == max(before, 11) and (io_class, level) == (2, 7)


def test_the_cpu_has_no_memory_to_share_or_to_wait_for() -> None:
    compute = ComputeSettings(gpu_memory_fraction=0.5, gpu_free_gb=10_000, gpu_wait_s=0)
    keep_within(compute, "cpu")
    wait_until_free(compute, "cpu")


@pytest.mark.gpu
def test_a_gpu_that_others_use_is_waited_for_and_given_up() -> None:
    with pytest.raises(Refusal) as caught:
        wait_until_free(ComputeSettings(gpu_free_gb=10_000, gpu_wait_s=0), "cuda:0")
    assert caught.value.wire_code is WireCode.DEVICE
    wait_until_free(ComputeSettings(gpu_free_gb=0.1, gpu_wait_s=0), "cuda:0")


@pytest.mark.gpu
def test_a_worker_takes_no_more_than_its_share_of_a_gpu() -> None:
    keep_within(ComputeSettings(gpu_memory_fraction=0.01), "cuda:0")
    try:
        whole = torch.cuda.get_device_properties(0).total_memory
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(whole // 50, dtype=torch.uint8, device="cuda:0")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, "cuda:0")
