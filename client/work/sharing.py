"""A worker beside the clinic's own programs: how it yields the processor, the disk and the GPU, by `[compute]`.

The worker calls each once, in the order in which they stand here, but `wait_until_free`, which is asked before each
round. What it does not take, others may; that they take it is theirs.
"""

import os
import sys
import time

import psutil
import torch

from client.settings import ComputeSettings
from shared.errors import Refusal, WireCode

LOOK_EVERY_S = 5.0
_GB = 1_000_000_000
_LOWEST = 7  # of the levels of ioprio_set(2)


def yield_to_others(compute: ComputeSettings) -> None:
    """Lower this process's priority, and with it that of each process that it starts."""
    if compute.nice:
        os.nice(max(0, compute.nice - os.nice(0)))
        if sys.platform == "linux":
            psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, _LOWEST)


def keep_within(compute: ComputeSettings, device: str) -> None:
    """Let this process take no more than its share of a GPU's memory; torch then says that it is out of memory."""
    if device.startswith("cuda") and compute.gpu_memory_fraction < 1:
        torch.cuda.set_per_process_memory_fraction(compute.gpu_memory_fraction, device)


def wait_until_free(compute: ComputeSettings, device: str) -> None:
    """Wait until enough of a GPU's memory is free, or this process's own already.

    Raises:
        Refusal: `DEVICE`, it was not within `gpu_wait_s`.
    """
    if not (device.startswith("cuda") and compute.gpu_free_gb):
        return
    deadline = time.monotonic() + compute.gpu_wait_s
    while _free_bytes(device) < compute.gpu_free_gb * _GB:
        if time.monotonic() >= deadline:
            raise Refusal(WireCode.DEVICE, remedy="Others use the GPU's memory; see compute.gpu_free_gb.")
        time.sleep(LOOK_EVERY_S)


def _free_bytes(device: str) -> int:
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)
