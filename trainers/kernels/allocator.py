"""How this process gets its memory: what a training step frees is kept for the next step.

glibc gives blocks of tens of MB back to the system when they are freed, and the system clears each page of the next
ones: 20,000 to 35,000 page faults in every step of CONV-2, a tenth to a quarter of its time.
"""

from __future__ import annotations

import ctypes
from functools import cache

# The numbers of mallopt (malloc.h), and what they are set to.
TRIM_THRESHOLD, MMAP_MAX = -1, -4
NEVER = 2**31 - 1  # bytes that may lie unused before any are given back: the largest that mallopt takes


def keep_freed_memory() -> bool:
    """Keep freed memory for the next step, from now on and for the whole process.

    Returns whether it could: this C library may be another one than glibc.
    """
    library = _glibc()
    return library is not None and bool(library.mallopt(TRIM_THRESHOLD, NEVER)) and bool(library.mallopt(MMAP_MAX, 0))


def return_freed_memory() -> None:
    """Give the system what is free now; what is allocated later is kept as before."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(None)
    except (OSError, TypeError):  # a system without such a thing
        return None
    return library if hasattr(library, "gnu_get_libc_version") and hasattr(library, "mallopt") else None
