"""How a process that moves megabytes at a time keeps the memory it freed: for the next object, not for the kernel.

glibc asks the kernel for each larger block and gives it back when it is freed. Whoever moves objects of 2 MB then
pays for hundreds of fresh pages with every copy, a sixth of a round's computing. Here blocks of up to `BLOCK_BYTES`
come from memory that stays, up to `KEPT_BYTES` at the end of each of `ARENAS` heaps; what is larger goes back at once.
The variables are for children that start later, the call is for this process. Other C libraries heed neither.

Source: mallopt(3).
"""

import ctypes
from typing import Final

BLOCK_BYTES: Final = 8 << 20
KEPT_BYTES: Final = 16 << 20
ARENAS: Final = 2
VARIABLES: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(BLOCK_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(KEPT_BYTES),
    "MALLOC_ARENA_MAX": str(ARENAS),
}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # of glibc's malloc.h


def reuse_freed_memory() -> bool:
    """Let this process keep what it frees; whether its C library can be told so."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    asked = ((_M_MMAP_THRESHOLD, BLOCK_BYTES), (_M_TRIM_THRESHOLD, KEPT_BYTES), (_M_ARENA_MAX, ARENAS))
    return all(mallopt(option, value) for option, value in asked)
