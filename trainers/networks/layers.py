"""What the networks are put together from."""

from __future__ import annotations

from torch import nn

from trainers.recipe.errors import InvalidInput

InputShape = tuple[int, int, int]  # channels, height, width


def scaled(channels: int, width: float) -> int:
    """The channels of a hidden layer at this width multiplier; at least one."""
    return max(1, round(channels * width))


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer; no network here has biases."""
    return nn.Linear(inputs, outputs, bias=False)


def conv3x3(inputs: int, outputs: int, padding: int = 1, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution; no network here has biases."""
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=padding, bias=False)


def require_pixels(network: str, input_shape: InputShape, side: int) -> None:
    """Raises InvalidInput unless the images are at least `side` pixels high and wide."""
    _, height, width = input_shape
    if min(height, width) < side:
        raise InvalidInput(
            f"network: {network} needs images of at least {side} x {side} pixels, not {height} x {width} "
            "(lenet takes any size)"
        )
