"""Which device a site computes on, how many threads, and what makes its results repeatable.

Decides; prints nothing. `auto` falls back to the CPU and says why; a device that was asked for by
name is used or refused. The settings of `make_repeatable` and `use_threads` are the process's own,
so the worker calls them once, before it touches the device.
"""

import os
from dataclasses import dataclass

import psutil
import torch

from client.imaging.memory import memory_bytes
from shared.errors import ConfigError, ResourceError

_TRIED = 128  # rows and columns of what is computed to try a device out


@dataclass(frozen=True)
class ResolvedDevice:
    """The device in torch's words, and one sentence on why it is this one."""

    name: str
    reason: str

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`."""
        return self.name.partition(":")[0]


def resolve_device(wish: str) -> ResolvedDevice:
    """Find the device that a site's configuration names.

    Args:
        wish: `auto`, `cpu`, `cuda`, `cuda:0` and so on, or `mps`.

    Raises:
        ConfigError: the wish is none of these words.
        ResourceError: the device was asked for by name and is not there.
    """
    kind, _, index = wish.partition(":")
    if wish == "auto":
        return _best()
    if wish == "cpu":
        return ResolvedDevice("cpu", "device = cpu in the configuration")
    if wish == "mps" or (kind == "cuda" and (wish == "cuda" or index.isdecimal())):
        trouble = _trouble(kind, int(index or 0))
        if trouble:
            raise ResourceError(f"device = {wish} cannot be used: {trouble}.", remedy="Correct it, or use auto or cpu.")
        name = "mps" if kind == "mps" else f"cuda:{int(index or 0)}"
        return ResolvedDevice(name, f"device = {wish} in the configuration")
    raise ConfigError(f"device = {wish[:20]} is not known.", remedy="Use auto, cpu, cuda, cuda:INDEX or mps.")


def use_threads(count: int) -> int:
    """Compute with this many CPU threads (0: leave torch's own choice); returns the number in force.

    The last bits of a result depend on it, so it is recorded with every study.

    Raises:
        ValueError: a negative count.
    """
    if count < 0:
        raise ValueError("threads must be 0 or more")
    if count:
        torch.set_num_threads(count)
    return torch.get_num_threads()


def make_repeatable(device: ResolvedDevice) -> str:
    """Make torch use deterministic algorithms in this process, and say what that promises.

    On the CPU and CUDA an operation without a deterministic algorithm raises. cuBLAS reads its
    workspace setting when CUDA starts (https://docs.nvidia.com/cuda/cublas, results
    reproducibility), so call this first.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=device.kind == "mps")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs time; our code reads no unwritten memory
    torch.backends.cudnn.benchmark = False
    compute_in_full()
    torch.set_flush_denormal(False)
    if device.kind == "cpu":
        return f"repeatable byte for byte on this kind of CPU with {torch.get_num_threads()} threads"
    if device.kind == "cuda":
        return "repeatable on this kind of GPU, except in layers that shared.models.varying_layers names"
    return "not promised to be repeatable on mps"


def compute_in_full() -> None:
    """Make CUDA keep all of float32: its convolutions else multiply in TF32, of which 10 bits of fraction are left."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


def seed_layers(seed: int, device: torch.device) -> None:
    """Seed what layers draw from in this process, such as dropout.

    For the CPU only its own generator: `torch.manual_seed` would put off the seeding of each kind of GPU that
    has not started yet, and note for each the whole stack of calls, a quarter of a millisecond.
    """
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def settle(device: ResolvedDevice) -> None:
    """Wait until the device has done what it was given; the CPU has, always."""
    if device.kind == "cuda":
        torch.cuda.synchronize(device.name)


def is_lost(device: ResolvedDevice) -> bool:
    """Whether this process can no longer use a device: after a fault of CUDA, all that it asks fails until it ends."""
    try:
        settle(device)
    except RuntimeError:
        return True
    return False


def try_out(device: ResolvedDevice) -> None:
    """Allocate on a device and compute there, so that one that is there and does not work is found.

    Raises:
        ResourceError: it computes something else than it should.
        RuntimeError: torch cannot allocate or compute on it.
    """
    values = (torch.arange(_TRIED * _TRIED, device=device.name) % 7).reshape(_TRIED, _TRIED)
    product = values.to(torch.float32) @ values.to(torch.float32)  # sums of whole numbers below 2**24 are exact
    if not torch.equal(product.cpu().to(torch.int64), values.cpu() @ values.cpu()):
        raise ResourceError("The device computes wrongly.", remedy="Take it out of use, and have it looked at.")


def memory_of(device: ResolvedDevice) -> tuple[int, int]:
    """Bytes of a device's memory that are free, and of all of it; of the CPU those that this account may take."""
    if device.kind == "cuda":
        free, whole = torch.cuda.mem_get_info(device.name)
        return int(free), int(whole)
    whole = memory_bytes()
    return min(int(psutil.virtual_memory().available), whole), whole


def _best() -> ResolvedDevice:
    missing = []
    for kind in ("cuda", "mps"):
        trouble = _trouble(kind, 0)
        if trouble is None:
            return ResolvedDevice("cuda:0" if kind == "cuda" else kind, f"auto: {kind} is there")
        missing.append(trouble)
    return ResolvedDevice("cpu", f"auto: {'; '.join(missing)}")


def _trouble(kind: str, index: int) -> str | None:
    if kind == "mps":
        return None if torch.backends.mps.is_available() else "no Apple GPU"
    if torch.version.cuda is None:
        return "this torch was built without CUDA"
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return None if index < found else f"{found} CUDA devices found" if found else "no CUDA device or driver"
