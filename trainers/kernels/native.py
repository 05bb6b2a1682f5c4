"""The C files beside this one, compiled for this machine when first wanted, and kept in the user's cache folder.

Without a C compiler everything works the same through NumPy and torch, only slower: `library()` is None then.
docs/decisions/0006 says why this is C, and why it is compiled here and not on installation.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from trainers.cache_folder import cache_folder

SOURCES = tuple(Path(__file__).with_name(name) for name in ("selection.c", "masks.c", "ranks.c"))
FLAGS = (
    ("-O3", "-march=native", "-mprefer-vector-width=512"),
    ("-O3", "-march=native"),
    ("-O3",),
)
ALWAYS = ("-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")

log = logging.getLogger(__name__)


class OptionsStruct(ctypes.Structure):
    """`Options` of selection.c."""

    _fields_ = (
        ("options", ctypes.c_int64),
        ("scores_key", ctypes.c_uint64),
        ("value_step", ctypes.c_float),
        ("score_step", ctypes.c_float),
        ("shared", ctypes.c_void_p),
    )


@functools.cache
def library() -> ctypes.CDLL | None:
    """What the C files define, or None where there is no compiler that can make it."""
    compiler = next((found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))), None)
    if compiler is None:
        log.info("no C compiler: selection runs through NumPy, slower and with the same results")
        return None
    try:
        path = _compiled(compiler)
        loaded = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("the C files could not be compiled (%s): selection runs through NumPy, slower", error)
        return None
    for name in ("slot_select", "slot_sample", "popup_select", "supermask_sample", "slot_ranks", "slot_ranked_values",
                 "slot_value_ranks"):  # fmt: skip
        getattr(loaded, name).restype = ctypes.c_int64
    pointer, integer, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    loaded.slot_select.argtypes = [pointer, integer, integer, pointer, ctypes.c_double, pointer, pointer, pointer]
    loaded.slot_sample.argtypes = [pointer, integer, integer, pointer, ctypes.c_float, ctypes.c_uint64, pointer]
    loaded.slot_ranks.argtypes = [pointer, integer, pointer, pointer]
    loaded.slot_ranked_values.argtypes = [pointer, integer, pointer, pointer]
    loaded.slot_value_ranks.argtypes = [pointer, integer, pointer, pointer, pointer]
    loaded.popup_select.argtypes = [integer, pointer, pointer, integer, number, number, integer, pointer, pointer]
    loaded.popup_gradient.argtypes = [integer, pointer, pointer, pointer]
    loaded.supermask_sample.argtypes = [integer, pointer, pointer, ctypes.c_uint64, pointer]
    loaded.supermask_gradient.argtypes = [integer, number, number, pointer, pointer, pointer]
    return loaded


def library_for(*tensors: Tensor) -> ctypes.CDLL | None:
    """The library, if there is one and it can work on these tensors: float32, contiguous, on the CPU."""
    for tensor in tensors:
        if tensor.dtype != torch.float32 or not tensor.is_cpu or not tensor.is_contiguous():
            return None
    return library()


def compiled_folder() -> Path:
    """Where compiled code is kept; a new folder where the user has none to keep it in."""
    return cache_folder() or Path(tempfile.mkdtemp(prefix="slot-sweeper-"))


def _compiled(compiler: str) -> Path:
    source = b"".join(path.read_bytes() for path in SOURCES)
    name = hashlib.sha256(source + repr((FLAGS, ALWAYS, _machine())).encode()).hexdigest()[:16]
    folder = compiled_folder()
    path = folder / f"selection-{name}.so"
    if path.exists():
        return path
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / path.name
        for number, flags in enumerate(FLAGS):
            command = [compiler, *flags, *ALWAYS, "-o", str(made), *map(str, SOURCES), "-lm"]
            result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if result.returncode == 0:
                os.replace(made, path)
                return path
            if number == len(FLAGS) - 1:
                raise OSError(f"{compiler} failed: {result.stderr.strip()[-500:]}")
    raise AssertionError("the last flags either compile or raise")


def _machine() -> str:
    """What `-march=native` depends on: a cache folder may be shared by machines with different processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        flags = platform.processor()
    return f"{platform.system()} {platform.machine()} {flags}"


@functools.cache
def thread_pool(threads: int) -> ThreadPoolExecutor:
    """Threads for calls into the library, which let go of Python's lock."""
    return ThreadPoolExecutor(threads, thread_name_prefix="selection")
