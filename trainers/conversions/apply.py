"""A conversion of a whole network."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from trainers.conversions.card import Conversion
from trainers.methods.base import weighted_layers


def convert(network: nn.Module, conversion: Conversion) -> None:
    """Convert the weights of linear and convolutional layers, which must be ordinary parameters. Others stay."""
    with torch.no_grad():
        for _, layer in weighted_layers(network):
            weight: Any = layer.weight
            weight.copy_(conversion.convert(weight))
