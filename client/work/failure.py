"""Which of the wire's codes stands for an exception of the worker; its text never leaves the site."""

import errno

from shared.errors import ConfigError, DiskFull, Refusal, ResourceError, WireCode

_CPU_ALLOCATOR = "DefaultCPUAllocator"  # torch says so in a RuntimeError where the CPU's memory is too small


def code_of(error: Exception) -> WireCode:
    """The code that stands for an exception."""
    if isinstance(error, Refusal):
        return error.wire_code
    if _is_memory(error):
        return WireCode.OUT_OF_MEMORY
    if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return WireCode.DISK_FULL
    if isinstance(error, ResourceError | ConfigError):
        return WireCode.NO_DATA
    return WireCode.INTERNAL


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
