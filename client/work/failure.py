"""Which of the wire's codes stands for an exception of the worker; its text never leaves the site."""

import errno

from shared.errors import ConfigError, DiskFull, Refusal, ResourceError, WireCode

# What torch says in a RuntimeError where memory is too small: the CPU's, or what CUDA and its libraries take.
_SAYS = ("DefaultCPUAllocator", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def code_of(error: Exception) -> WireCode:
    """The code that stands for an exception."""
    if isinstance(error, Refusal):
        return error.wire_code
    if is_memory(error):
        return WireCode.OUT_OF_MEMORY
    if isinstance(error, DiskFull) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
        return WireCode.DISK_FULL
    if isinstance(error, ResourceError | ConfigError):
        return WireCode.NO_DATA
    return WireCode.INTERNAL


def is_memory(error: Exception) -> bool:
    """Whether it says that memory is too small."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _SAYS)
