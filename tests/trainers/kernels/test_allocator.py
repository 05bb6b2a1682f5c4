"""What a process frees is kept for what it allocates next, where the C library can do that."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = 64 * 2**20 // 4096  # of a block; where the system gives out pages of 2 MB there are fewer faults
FAULTS = """
import ctypes, resource, sys
from trainers.kernels.allocator import keep_freed_memory, return_freed_memory

if "kept" in sys.argv:
    assert keep_freed_memory()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.free.argtypes = library.memset.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def use(blocks: int) -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        block = library.malloc(64 << 20)
        library.memset(block, 1, 64 << 20)
        library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

use(1)
resident = lambda: int(open("/proc/self/statm").read().split()[1])
used, before = use(10), resident()
return_freed_memory()
print(used, before - resident())
"""


def faults(*arguments: str) -> tuple[int, int]:
    """The page faults of using a block ten times, and the pages that are returned afterwards."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    used, returned = done.stdout.split()
    return int(used), int(returned)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_block_that_was_freed_is_used_again_without_a_page_fault():
    otherwise, kept = faults()[0], faults("kept")[0]
    assert otherwise > 200, "this system keeps freed memory anyway, and the setting can go"
    assert kept < otherwise / 10


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_what_was_kept_is_given_back_when_asked_for():
    assert faults("kept")[1] > 0.9 * PAGES
