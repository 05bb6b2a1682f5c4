"""AlexNet for CIFAR-10: torchvision's channels, with 3 x 3 convolutions and less pooling, as 32 x 32 pixels need.

Krizhevsky's one-weird-trick variant (64-192-384-256-256, 4096-4096) whose first convolution strides by 2 and whose
poolings halve; no biases.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, conv3x3, linear, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn

CHANNELS = (64, 192, 384, 256, 256)
POOLED = (1, 2, 5)  # the convolutions that are followed by max-pooling
HIDDEN = 4096


def alexnet(input_shape: InputShape, classes: int, *, width: float = 1.0, dropout: float = 0.0) -> nn.Sequential:
    """AlexNet; 23,262,912 weights on CIFAR-10. `width` multiplies the channels of each of its seven hidden layers."""
    from torch import nn

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, height, breadth = input_shape[0], (input_shape[1] + 1) // 2, (input_shape[2] + 1) // 2
    for number, outputs in enumerate(CHANNELS, start=1):
        layers[f"conv{number}"] = conv3x3(channels, scaled(outputs, width), stride=2 if number == 1 else 1)
        channels = scaled(outputs, width)
        if number in POOLED:
            layers[f"pool{number}"] = nn.MaxPool2d(2)  # before ReLU, which commutes with it
            height, breadth = height // 2, breadth // 2
        layers[f"relu{number}"] = nn.ReLU(inplace=True)
    layers["flatten"] = nn.Flatten()
    hidden = scaled(HIDDEN, width)
    for number, inputs in ((1, channels * height * breadth), (2, hidden)):
        layers[f"dropout{number}"] = nn.Dropout(dropout)
        layers[f"fc{number}"] = linear(inputs, hidden)
        layers[f"fc_relu{number}"] = nn.ReLU(inplace=True)
    layers["fc3"] = linear(hidden, classes)
    return nn.Sequential(layers)


ALEXNET = Network("AlexNet", alexnet, smallest_sides={1: 15})
