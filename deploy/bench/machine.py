"""What a measurement was taken on: machine, versions, cores, memory, and how busy it was before."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

VERSIONS = ("torch", "flwr", "grpcio", "numpy", "wardround")


def describe() -> dict[str, Any]:
    """The machine as JSON values; memory in bytes, load as the averages over 1, 5 and 15 minutes."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "memory_free_bytes": psutil.virtual_memory().available,
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in VERSIONS},
    }


def _processor() -> str:
    """The processor's name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
