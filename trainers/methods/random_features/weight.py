"""Random features: fixed random layers, and a last one that is solved for by ridge regression.

With features H (n, d) of the training images and targets Y (n, classes), 1 for the image's class and 0 elsewhere, less
their mean 1/classes, the last layer is W = (HᵀH + r·I)⁻¹HᵀY (Hoerl & Kennard, 1970; on random features Rahimi & Recht,
NIPS 2008). One eigendecomposition HᵀH = V·diag(e)·Vᵀ gives it for every r: W = V·diag(1/(e + r))·VᵀHᵀY. The r in use
is the one with the highest validation accuracy, the largest of several; all in float64.

The outputs are regressions and no logits: accuracies are what they are for, their cross-entropy says little.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.errors import InvalidInput
from trainers.kernels.options import fans
from trainers.methods.base import SelectedWeight, weighted_layers
from trainers.methods.masks import fixed_weights
from trainers.methods.snapshots import mask_in_use

RIDGES = tuple(10.0 ** (half / 2) for half in range(-16, 3))  # times the mean eigenvalue
Batches = Iterable[tuple[Tensor, Tensor]]  # features (n, d) or images, and labels (n,)


class FixedWeight(SelectedWeight):
    """Gives a layer its fixed random weights. There is one choice, and nothing in `original`."""

    choices = 1

    def __init__(self, fixed: Tensor):
        super().__init__()
        self.register_buffer("fixed", fixed, persistent=False)

    def forward(self, original: Tensor) -> Tensor:
        return self.fixed

    def selected(self, original: Tensor) -> Tensor:
        return self.fixed.clone()

    def described(self, original: Tensor, weight: Tensor) -> dict[str, Any]:
        return mask_in_use(self.fixed, torch.ones_like(self.fixed, dtype=torch.bool))

    def chosen(self, original: Tensor) -> Tensor:
        return torch.zeros_like(self.fixed, dtype=torch.int64)

    def chosen_weight(self, chosen: Tensor) -> Tensor:
        return self.fixed.clone()


def attach_fixed(layer: nn.Module, name: str, seed: int, value_scale: float) -> None:
    """Give the layer fixed weights, and nothing to learn in their place."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    deviation = value_scale * math.sqrt(2 / fans(weight)[0])
    fixed = fixed_weights(weight, name, seed, kind="kaiming_normal", deviation=deviation)
    with torch.no_grad():
        weight.zero_()
    parametrize.register_parametrization(layer, "weight", FixedWeight(fixed), unsafe=True)


@torch.no_grad()
def solve_last_layer(
    network: nn.Module, forward: Callable[[Tensor], Tensor], training: Batches, validation: Batches
) -> None:
    """Set the network's last layer to the best ridge regression. The batches are of images, for `forward`.

    Raises InvalidInput for a network whose last layer is not fully connected.
    """
    *_, (name, last) = weighted_layers(network)
    if not isinstance(last, nn.Linear):
        raise InvalidInput(f"network: random_features solves for a fully connected last layer, and {name} is none")
    seen: list[Tensor] = []
    handle = last.register_forward_pre_hook(lambda _layer, inputs: seen.append(inputs[0]))

    def features(batches: Batches) -> Iterable[tuple[Tensor, Tensor]]:
        for images, labels in batches:
            forward(images)
            yield seen.pop().double(), labels

    try:
        weight = best_ridge(features(training), features(validation), last.out_features, last.bias)
    finally:
        handle.remove()
    last.weight.copy_(weight)


def best_ridge(training: Batches, validation: Batches, classes: int, bias: Tensor | None = None) -> Tensor:
    """The (classes, d) weight of the best ridge among RIDGES, in float64; no numbers where the features are none.

    bias: what is added to the outputs whatever the weight, (classes,).
    """
    gram, moments = _sums(training, classes, bias)
    if not (gram.isfinite().all() and moments.isfinite().all()):
        return torch.full_like(moments.T, math.nan)
    sizes, vectors = torch.linalg.eigh(gram)
    unit = sizes.mean().clamp(min=torch.finfo(sizes.dtype).tiny)
    projected = vectors.T @ moments
    weights = [vectors @ (projected / (sizes.clamp(min=0) + ridge * unit)[:, None]) for ridge in RIDGES]
    right = torch.zeros(len(RIDGES), dtype=torch.int64, device=gram.device)
    for features, labels in validation:
        outputs = torch.stack([features @ weight for weight in weights])
        if bias is not None:
            outputs += bias
        right += (outputs.argmax(2) == labels).sum(1)
    best = max(range(len(RIDGES)), key=lambda place: (int(right[place]), place))
    found: Tensor = weights[best].T
    return found


def _sums(training: Batches, classes: int, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """HᵀH (d, d) and HᵀY (d, classes)."""
    gram = moments = None
    for features, labels in training:
        targets = nn.functional.one_hot(labels.long(), classes).to(features) - 1 / classes
        if bias is not None:
            targets -= bias
        if gram is None or moments is None:
            gram = features.new_zeros(features.shape[1], features.shape[1])
            moments = features.new_zeros(features.shape[1], classes)
        gram.addmm_(features.T, features)
        moments.addmm_(features.T, targets)
    assert gram is not None and moments is not None, "there are training images"
    return gram, moments
