"""The GPU's kernels, interpreted on the CPU: the same selections as evaluating all options there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton comes with torch on Linux only")

# In a process of its own: Triton reads TRITON_INTERPRET once, when it is imported.
PROGRAM = """
import warnings
warnings.simplefilter("ignore")
import torch
from trainers.kernels import torch_kernels as kernels, triton_kernels
from trainers.kernels.options import LayerOptions
for shared in (False, True):
    for count in (1, 5):
        options = LayerOptions(count, 700, 0.07, 0.05, 12345, 999 if shared else 12345, shared)
        b = torch.randn(700, generator=torch.Generator().manual_seed(count)) * 3
        for c in (0.5, -1.0):
            scale, found, expected = torch.tensor(c), torch.full((700,), 7.0), torch.empty(700)
            triton_kernels.select(b, scale, options, found)
            kernels.select(b, scale, options, expected)
            assert torch.equal(found, expected), ("select", shared, count, c)
            noise = torch.tensor(-17)
            sampled = triton_kernels.sample(b * 10, scale, options, noise)
            same = (sampled == kernels.sample(b * 10, scale, options, noise)).double().mean()
            assert same > 0.99, ("sample", shared, count, c, same)
print("equal")
"""


def test_triton_kernels_select_and_sample_what_torch_does():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=240
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip() == "equal"
