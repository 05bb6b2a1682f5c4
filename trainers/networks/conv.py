"""CONV-2, CONV-4 and CONV-6: pairs of 3 x 3 convolutions, each pair followed by max-pooling, then 256-256-classes.

The two paddings: 1 everywhere, or 0 but 1 in the third pair, as in the code of the slot machines' authors.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, activated, conv3x3, linear, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn

PAIR_CHANNELS = (64, 128, 256)
HIDDEN = 256


def conv2(
    input_shape: InputShape,
    classes: int,
    *,
    padding: int = 1,
    width: float = 1.0,
    dropout: float = 0.0,
    activation: str | None = None,
) -> nn.Sequential:
    """CONV-2: 4,300,992 weights on CIFAR-10 (padding 0: 3,317,952)."""
    return _conv(1, input_shape, classes, padding, width, dropout, activation)


def conv4(
    input_shape: InputShape,
    classes: int,
    *,
    padding: int = 1,
    width: float = 1.0,
    dropout: float = 0.0,
    activation: str | None = None,
) -> nn.Sequential:
    """CONV-4: 2,425,024 weights on CIFAR-10 (padding 0: 1,147,072)."""
    return _conv(2, input_shape, classes, padding, width, dropout, activation)


def conv6(
    input_shape: InputShape,
    classes: int,
    *,
    padding: int = 1,
    width: float = 1.0,
    dropout: float = 0.0,
    activation: str | None = None,
) -> nn.Sequential:
    """CONV-6: 2,261,184 weights on CIFAR-10 (padding 0: 1,474,752)."""
    return _conv(3, input_shape, classes, padding, width, dropout, activation)


def _conv(
    pairs: int,
    input_shape: InputShape,
    classes: int,
    padding: int,
    width: float,
    dropout: float,
    activation: str | None,
) -> nn.Sequential:
    from torch import nn

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, height, breadth = input_shape
    for pair in range(pairs):
        outputs = scaled(PAIR_CHANNELS[pair], width)
        for number in (2 * pair + 1, 2 * pair + 2):
            layers[f"conv{number}"] = conv3x3(channels, outputs, _padding_of(pair, padding))
            if number % 2 == 0:
                # Max-pooling commutes with what never falls, values and gradients alike: so ReLU, or ELU, sees a
                # quarter of the pixels.
                layers[f"pool{pair + 1}"] = nn.MaxPool2d(2)
            layers[f"relu{number}"] = activated(activation)
            channels = outputs
        height, breadth = (_side_after(pair, padding, side) for side in (height, breadth))
    hidden = scaled(HIDDEN, width)
    layers["flatten"] = nn.Flatten()
    for number, inputs in ((1, channels * height * breadth), (2, hidden)):
        layers[f"dropout{number}"] = nn.Dropout(dropout)
        layers[f"fc{number}"] = linear(inputs, hidden)
        layers[f"fc_relu{number}"] = activated(activation)
    layers["fc3"] = linear(hidden, classes)
    return nn.Sequential(layers)


def _padding_of(pair: int, padding: int) -> int:
    return 1 if pair == 2 else padding


def _side_after(pair: int, padding: int, side: int) -> int:
    return (side - 4 * (1 - _padding_of(pair, padding))) // 2


def smallest_side(pairs: int, padding: int) -> int:
    """The fewest pixels a side that leave at least one after the last pooling."""
    side = 1
    for pair in reversed(range(pairs)):
        side = 2 * side + 4 * (1 - _padding_of(pair, padding))
    return side


# Dropout as in the paper and its authors' code, where the padding is 0.
_PRESETS = {"icml": {"dropout": 0.5}, "authors_code": {"dropout": 0.5, "padding": 0}}
CONV2 = Network("CONV-2", conv2, {padding: smallest_side(1, padding) for padding in (0, 1)}, _PRESETS)
CONV4 = Network("CONV-4", conv4, {padding: smallest_side(2, padding) for padding in (0, 1)}, _PRESETS)
CONV6 = Network("CONV-6", conv6, {padding: smallest_side(3, padding) for padding in (0, 1)}, _PRESETS)
