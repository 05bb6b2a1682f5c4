"""VGG-19 for small images: sixteen 3 x 3 convolutions in five blocks, then one fully connected layer."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from trainers.networks.layers import InputShape, conv3x3, linear, scaled
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn

BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))  # channels, convolutions; 4 x 256 makes it VGG-19


def vgg19(input_shape: InputShape, classes: int, *, width: float = 1.0) -> nn.Sequential:
    """VGG-19 with batch normalisation without affine parameters; 20,024,000 weights on CIFAR-10."""
    from torch import nn

    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels, number = input_shape[0], 0
    for block, (outputs, convolutions) in enumerate(BLOCKS):
        if block:
            layers[f"pool{block}"] = nn.MaxPool2d(2)
        for _ in range(convolutions):
            number += 1
            layers[f"conv{number}"] = conv3x3(channels, scaled(outputs, width))
            channels = scaled(outputs, width)
            layers[f"norm{number}"] = nn.BatchNorm2d(channels, affine=False)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = linear(channels, classes)
    return nn.Sequential(layers)


VGG19 = Network("VGG-19", vgg19, smallest_sides={1: 2 ** (len(BLOCKS) - 1)})
