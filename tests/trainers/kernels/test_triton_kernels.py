"""The GPU's kernels without a GPU: interpreted on the CPU they select what all options and selection.c do, and Triton
compiles them for GPUs that are not there, through the code that a launch runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton comes with torch on Linux only")

INTERPRETED = """
import warnings
warnings.simplefilter("ignore")
import torch
from trainers.kernels import torch_kernels as kernels, triton_kernels
from trainers.kernels.options import LayerOptions
from trainers.methods.slot_machine.weight import SlotWeight

def same_bits(a, b):
    return torch.equal(a.view(torch.int32), b.view(torch.int32))

for shared in (False, True):
    for count in (1, 5, 64):
        options = LayerOptions(count, 700, 0.07, 0.05, 2**63 + 12345, 999, shared)
        b = torch.randn(700, generator=torch.Generator().manual_seed(count)) * 3
        for c in (0.5, -1.0):
            scale, found, expected = torch.tensor(c), torch.full((700,), 7.0), torch.empty(700)
            triton_kernels.select(b, scale, options, found)
            kernels.select(b, scale, options, expected)
            assert same_bits(found, expected), ("torch", shared, count, c)
            machine = SlotWeight(options, b)
            machine.scale.data.fill_(c)
            assert same_bits(found, machine.selected(b)), ("selection.c", shared, count, c)
            noise = torch.tensor(-17)
            sampled = triton_kernels.sample(b * 10, scale, options, noise)
            same = (sampled == kernels.sample(b * 10, scale, options, noise)).double().mean()
            assert same > 0.99, ("sample", shared, count, c, same)
        b[::7] = torch.nan
        b[1::7] = -torch.inf
        triton_kernels.select(b, torch.tensor(1.0), options, found)
        kernels.select(b, torch.tensor(1.0), options, expected)
        assert torch.equal(found.nan_to_num(9.0), expected.nan_to_num(9.0)) and torch.equal(found.isnan(), b.isnan())
        sampled = triton_kernels.sample(b, torch.tensor(1.0), options, noise)
        assert torch.equal(sampled.isnan(), ~b.isfinite()), "no weight is 0, which no option has"
print("equal")
"""

# Stands in for the CUDA driver, one device a GPU: enough for a launch to be compiled.
COMPILED = """
import sys, warnings
import torch
from triton import JITFunction
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
warnings.simplefilter("error")
from trainers.kernels import triton_intervals, triton_kernels, triton_ranks
from trainers.kernels.options import LayerOptions

class Driver:
    capability = 0
    get_current_device = lambda self: self.capability
    get_current_stream = lambda self, device: 0
    get_current_target = lambda self: GPUTarget("cuda", self.capability, 32)

class Compiled:
    def __init__(self, kernel): self.kernel = kernel
    def __getitem__(self, grid):
        return lambda *given, **named: made.append(self.kernel.warmup(*given, grid=grid, **named))

kernels = [(module, name) for module in (triton_kernels, triton_intervals, triton_ranks)
           for name, kernel in vars(module).items()
           if isinstance(kernel, JITFunction) and any(argument.endswith("_ptr") for argument in kernel.arg_names)]
for module, name in kernels:
    setattr(module, name, Compiled(getattr(module, name)))
torch.Tensor.tolist = lambda totals: (0, 0)  # of a kernel that is not run
driver.set_active(Driver())
for Driver.capability in map(int, sys.argv[1:]):
    made = []
    for shared in (False, True):
        # Triton makes others of the numbers 1, those that 16 divides, and those that fit 32 bits.
        for count, connections, key in ((1, 700, 2**63 + 12345), (8, 700, 64), (64, 1024, 2**63 + 64), (5, 1, 7)):
            layer = LayerOptions(count, connections, 0.07, 0.05, key, 999, shared)
            b, scale = torch.zeros(connections), torch.ones(())
            triton_kernels.select(b, scale, layer, torch.empty(connections))
            triton_kernels.sample(b, scale, layer, torch.tensor(-17))
            ends = (torch.zeros(connections, dtype=torch.int16) for _ in range(2))
            triton_intervals.select_again(b, scale, layer, torch.empty(connections), *ends)
            triton_ranks.value_ranks(layer, b)
    assert {kernel.metadata.name for kernel in made} == {name for _, name in kernels}, kernels
    for kernel in made:
        assert kernel.asm["cubin"] and f".target sm_{Driver.capability}" in kernel.asm["ptx"]
        for slow_or_fused in ("f32.s64", "f32.u64", "f64.s64", "fma.rn.f32"):
            assert slow_or_fused not in kernel.asm["ptx"], (kernel.metadata.name, slow_or_fused)
    print(Driver.capability, len(made))
"""

# A tensor that says it is on a GPU, and Triton's own driver of a GPU: it compiles its C part, or cannot.
CANNOT_COMPILE = """
import logging, sys, sysconfig
import torch
from triton.backends.nvidia import driver
driver.CudaDriver.is_active = staticmethod(lambda: True)
if sys.argv[1:]:
    paths = sysconfig.get_paths
    sysconfig.get_paths = lambda **scheme: {**paths(**scheme), "include": sys.argv[1]}
from trainers.kernels import torch_kernels as kernels
from trainers.kernels.options import LayerOptions
logging.basicConfig(format="%(levelname)s %(message)s")

class OnGpu(torch.Tensor):
    is_cuda = True

options, b, c = LayerOptions(8, 700, 0.07, 0.05, 3, 3, False), torch.randn(700), torch.tensor(0.9)
for _ in range(2):
    found, expected = torch.empty(700), torch.empty(700)
    kernels.select(b.as_subclass(OnGpu), c, options, found)
    kernels.select(b, c, options, expected)
    assert torch.equal(found, expected)
    sampled = [kernels.sample(each, c, options, torch.tensor(5)) for each in (b.as_subclass(OnGpu), b)]
    assert torch.equal(*sampled)
"""


def run(program: str, *arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: Triton reads its environment when it is imported."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", **variables}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_interpreted_kernels_select_what_torch_and_selection_c_do_and_sample_alike():
    result = run(INTERPRETED, TRITON_INTERPRET="1")
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "equal"


@pytest.mark.slow
def test_every_kernel_compiles_for_gpus_that_are_not_here_by_the_code_of_a_launch(tmp_path):
    result = run(COMPILED, 80, 89, 90, TRITON_CACHE_DIR=str(tmp_path), TRITON_INTERPRET="0")
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.split() == ["80", "40", "89", "40", "90", "40"]


@pytest.mark.parametrize("lacking", ["a compiler in PATH", "the compiler of CC", "Python.h"])
def test_where_triton_cannot_compile_torch_selects_and_one_warning_says_so(lacking, tmp_path):
    variables = {
        "a compiler in PATH": {"PATH": str(tmp_path)},
        "the compiler of CC": {"CC": str(tmp_path / "cc")},
        "Python.h": {},
    }[lacking]
    reason = {
        "a compiler in PATH": "RuntimeError: Failed to find C compiler",
        "the compiler of CC": f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/cc'",
        "Python.h": "CalledProcessError: Command",
    }[lacking]
    headers = [tmp_path] if lacking == "Python.h" else []
    given = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_LIBCUDA_PATH": str(tmp_path), "TRITON_INTERPRET": "0"}
    result = run(CANNOT_COMPILE, *headers, **{**given, **variables})
    assert result.returncode == 0, result.stderr[-3000:]
    warnings = [line for line in result.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == 1, result.stderr
    assert f"Triton cannot compile ({reason}" in warnings[0]
    assert warnings[0].endswith("selection runs through torch, slower")
    assert lacking != "Python.h" or "Python.h: No such file" in result.stderr
