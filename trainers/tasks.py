"""What data sets ask of networks: the loss that is trained by, and how much of every example is right.

Of a regression that is the share of the variance that is explained: labels have mean 0 and variance 1 over the examples
that are trained on, so that 1 minus the squared error, averaged over examples, is R² against their mean (out of sample:
Campbell and Thompson, Review of Financial Studies, 2008). It is 0 for the mean as the answer to everything, and
negative for worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainers.data.data_set import Task


@dataclass(frozen=True)
class Asked:
    """A task: outputs are (n, classes); labels (n,) of classes, or (n, classes) of bits or of numbers."""

    loss: Callable[[Tensor, Tensor], Tensor]  # the mean over a batch
    summed_loss: Callable[[Tensor, Tensor], Tensor]  # over its examples
    right: Callable[[Tensor, Tensor], Tensor]  # how many are right; of bits, a fraction of each example; of numbers, R²
    made_up: Callable[[int, int, torch.Generator], Tensor]  # labels of so many examples, of so many classes


def _summed_bits(outputs: Tensor, labels: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs, labels, reduction="sum") / outputs.shape[1]


def _right_bits(outputs: Tensor, labels: Tensor) -> Tensor:
    return ((outputs > 0) == (labels > 0.5)).float().mean(1).sum()


def _made_up_bits(examples: int, classes: int, chance: torch.Generator) -> Tensor:
    return torch.randint(2, (examples, classes), generator=chance).float()


def _summed_squares(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs - labels).square().mean(1).sum()


def _made_up_numbers(examples: int, outputs: int, chance: torch.Generator) -> Tensor:
    return torch.randn(examples, outputs, generator=chance)


ASKED: dict[Task, Asked] = {
    "classification": Asked(
        loss=functional.cross_entropy,
        summed_loss=lambda outputs, labels: functional.cross_entropy(outputs, labels, reduction="sum"),
        right=lambda outputs, labels: (outputs.argmax(1) == labels).sum(),
        made_up=lambda examples, classes, chance: torch.randint(classes, (examples,), generator=chance),
    ),
    "bits": Asked(
        loss=functional.binary_cross_entropy_with_logits,
        summed_loss=_summed_bits,
        right=_right_bits,
        made_up=_made_up_bits,
    ),
    "regression": Asked(
        loss=functional.mse_loss,
        summed_loss=_summed_squares,
        right=lambda outputs, labels: len(labels) - _summed_squares(outputs, labels),
        made_up=_made_up_numbers,
    ),
}
