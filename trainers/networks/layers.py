"""What the networks are put together from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

InputShape = tuple[int, int, int]  # channels, height, width


def scaled(channels: int, width: float) -> int:
    """The channels of a hidden layer at this width multiplier; at least one."""
    return max(1, round(channels * width))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer; no network here has biases."""
    from torch import nn

    return nn.Linear(inputs, outputs, bias=False)


def conv3x3(inputs: int, outputs: int, padding: int = 1, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution; no network here has biases."""
    from torch import nn

    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=padding, bias=False)


def activated(activation: str | None) -> nn.Module:
    """What follows a hidden layer: ReLU; or `elu`, which is x above 0 and exp(x) - 1 below (Clevert et al., 2016)."""
    from torch import nn

    return nn.ELU(inplace=True) if activation == "elu" else nn.ReLU(inplace=True)
