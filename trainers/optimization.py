"""SGD and learning-rate schedules of a phase."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

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


def build_sgd(
    parameters: Iterable[nn.Parameter], recipe: Recipe, phase: Phase, *, rate_on_device: bool = False
) -> torch.optim.SGD:
    """The phase's SGD over these parameters; set the rate of every epoch with `set_learning_rate`.

    With `rate_on_device` the rate is a tensor beside the parameters, which a captured graph reads anew in every step.
    """
    trained = list(parameters)
    rate: float | torch.Tensor = learning_rate(recipe, phase, 0)
    return torch.optim.SGD(
        trained,
        lr=torch.tensor(rate, device=trained[0].device) if rate_on_device else rate,
        momentum=getattr(recipe, f"{phase}_momentum", 0.0),
        nesterov=getattr(recipe, f"{phase}_nesterov", False),
        weight_decay=getattr(recipe, f"{phase}_weight_decay", 0.0),
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """One rate for all parameters."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def momenta(optimizer: torch.optim.SGD) -> list[Any]:
    """The momentum buffers in the order of the parameters; None where a parameter has none yet."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    return [optimizer.state[parameter].get("momentum_buffer") for parameter in parameters]
