"""SGD and learning-rate schedules of a phase."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainers.recipe.choices import PHASES, Phase
from trainers.recipe.recipe import Recipe


def learning_rate(recipe: Recipe, phase: Phase, epoch: int) -> float:
    """The rate in the phase's epoch number `epoch`, counted from 0; it is constant within an epoch.

    0 where nothing is trained.
    """
    if phase not in PHASES:
        return 0.0
    rate: float = getattr(recipe, f"{phase}_learning_rate")
    schedule: str = getattr(recipe, f"{phase}_schedule")
    cycle: int | None = getattr(recipe, f"{phase}_schedule_epochs")
    factor: float | None = getattr(recipe, f"{phase}_schedule_factor")
    match schedule:
        case "constant":
            return rate
        case "cosine":
            return rate * _cosine(epoch, getattr(recipe, f"{phase}_epochs"))
        case "cooldown":  # to 0, which the epoch after the last would have
            assert cycle is not None, "a rule of recipes"
            length: int = getattr(recipe, f"{phase}_epochs")
            return rate * min(1.0, (length - epoch) / (min(cycle, length) + 1))
        case "steps":
            assert cycle is not None and factor is not None, "a rule of recipes"
            return rate * factor if epoch >= cycle else rate
        case "staircase":
            assert cycle is not None and factor is not None, "a rule of recipes"
            return rate * factor ** (epoch // cycle)
        case "warm_restarts":  # SGDR (Loshchilov & Hutter, 2017)
            assert cycle is not None and factor is not None, "a rule of recipes"
            while epoch >= cycle:
                epoch, cycle = epoch - cycle, int(cycle * factor)
            return rate * _cosine(epoch, cycle)
    raise AssertionError(f"schedule {schedule}")


def _cosine(epoch: int, length: int) -> float:
    return (1 + math.cos(math.pi * epoch / length)) / 2


class FusedSGD:
    """SGD of all parameters in one call, bit for bit as `torch.optim.SGD(fused=True)`, which it does without.

    torch's imports the compiler of torch at its first step: 1.5 s of a core and 300 MB in every process.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        rate: float | Tensor,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.parameters = parameters
        self.rate = rate  # a tensor is read by the device, in each step of a captured graph anew
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        self.momenta: list[Tensor | None] = [None] * len(parameters)  # None before the first step, and without momentum
        alike: dict[tuple[torch.device, torch.dtype], list[int]] = {}
        for number, parameter in enumerate(parameters):
            alike.setdefault((parameter.device, parameter.dtype), []).append(number)
        self._alike = list(alike.values())

    def set_rate(self, rate: float) -> None:
        """The rate of the steps to come, for all parameters."""
        if isinstance(self.rate, Tensor):
            self.rate.fill_(rate)
        else:
            self.rate = rate

    def zero_grad(self) -> None:
        """Drops the gradients: the next ones are not added to them."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Moves every parameter that has a gradient."""
        for numbers in self._alike:
            there = [number for number in numbers if self.parameters[number].grad is not None]
            if there:
                self._step(there)

    def _step(self, numbers: Sequence[int]) -> None:
        gradients = [gradient for number in numbers if (gradient := self.parameters[number].grad) is not None]
        is_first = self.momentum != 0 and all(self.momenta[number] is None for number in numbers)
        if is_first:
            for number, gradient in zip(numbers, gradients, strict=True):
                self.momenta[number] = torch.empty_like(gradient)
        rate: Any = self.rate  # torch's stub knows tensors only
        torch._fused_sgd_(
            [self.parameters[number] for number in numbers],
            gradients,
            [momentum for number in numbers if (momentum := self.momenta[number]) is not None],
            weight_decay=self.weight_decay,
            momentum=self.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=self.nesterov,
            maximize=False,
            is_first_step=is_first,
        )


def build_sgd(
    parameters: Iterable[nn.Parameter], recipe: Recipe, phase: Phase, *, rate_on_device: bool = False
) -> FusedSGD:
    """The phase's SGD over these parameters; set the rate of every epoch with its `set_rate`.

    With `rate_on_device` the rate is a tensor beside the parameters, which a captured graph reads anew in every step.
    """
    trained = list(parameters)
    rate = learning_rate(recipe, phase, 0)
    return FusedSGD(
        trained,
        torch.tensor(rate, device=trained[0].device) if rate_on_device else rate,
        momentum=getattr(recipe, f"{phase}_momentum", 0.0),
        nesterov=getattr(recipe, f"{phase}_nesterov", False),
        weight_decay=getattr(recipe, f"{phase}_weight_decay", 0.0),
    )
