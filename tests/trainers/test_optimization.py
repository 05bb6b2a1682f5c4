"""SGD of our own: torch's fused one, bit for bit, without the import of torch's compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from tests.trainers.tiny import VARIANTS
from trainers.optimization import FusedSGD

SETTINGS = [(0.0, False, 0.0), (0.9, False, 0.0), (0.9, True, 1e-3), (0.0, False, 1e-2)]


def parameters() -> list[nn.Parameter]:
    torch.manual_seed(1)
    shapes = [(300, 17), (17,), (3, 5, 7, 9), (1,), (4,)]
    made = [nn.Parameter(torch.randn(shape)) for shape in shapes]
    return [*made, nn.Parameter(torch.randn(13, dtype=torch.float64))]


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(("momentum", "nesterov", "decay"), SETTINGS)
def test_steps_equal_those_of_torchs_fused_sgd_bit_for_bit(momentum, nesterov, decay, on_device):
    ours, theirs = parameters(), parameters()
    rates = [torch.tensor(0.3) if on_device else 0.3 for _ in range(2)]
    sgd = FusedSGD(ours, rates[0], momentum, nesterov, decay)
    reference = torch.optim.SGD(
        theirs, lr=rates[1], momentum=momentum, nesterov=nesterov, weight_decay=decay, fused=True
    )
    for step in range(12):
        if step == 6:
            sgd.set_rate(0.07)
            reference.param_groups[0]["lr"] = torch.tensor(0.07) if on_device else 0.07
        sgd.zero_grad()
        reference.zero_grad()
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            if number != 4:  # which nothing depends on
                mine.grad = torch.randn(mine.shape, dtype=mine.dtype)
                other.grad = mine.grad.clone()
        sgd.step()
        reference.step()
        assert all(torch.equal(mine, other) for mine, other in zip(ours, theirs, strict=True))
        for mine, parameter in zip(sgd.momenta, theirs, strict=True):
            other = reference.state[parameter].get("momentum_buffer")
            assert torch.equal(mine, other) if mine is not None else other is None


WITHOUT_A_COMPILER = """
import sys
from tests.trainers.tiny import VARIANTS, tiny_recipe, tiny_splits
from trainers.training import TrainingRun
for name in {names}:
    run = TrainingRun(tiny_recipe(**VARIANTS[name], dataset="mnist", batch_size=20), tiny_splits())
    list(run.epochs())
    run.test()
    assert "torch._dynamo" not in sys.modules, name
"""


def test_training_does_without_the_import_of_torchs_compiler():
    program = WITHOUT_A_COMPILER.format(names=list(VARIANTS))
    subprocess.run([sys.executable, "-c", program], check=True)
