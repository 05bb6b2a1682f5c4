"""torchvision's ResNets, not pretrained, without biases, and with batch normalisation without affine parameters.

Images of fewer than 64 pixels a side (CIFAR-10) get the usual stem for them: a 3 x 3 convolution of stride 1 and no
max-pooling, where ImageNet's stem would throw away fifteen sixteenths of their pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from trainers.networks.layers import InputShape, linear
from trainers.networks.network import Network

if TYPE_CHECKING:
    from torch import nn

SMALL = 64  # pixels a side


def resnet18(input_shape: InputShape, classes: int) -> nn.Module:
    """ResNet-18 of basic blocks."""
    return _resnet("resnet18", input_shape, classes)


def resnet34(input_shape: InputShape, classes: int) -> nn.Module:
    """ResNet-34 of basic blocks."""
    return _resnet("resnet34", input_shape, classes)


def resnet50(input_shape: InputShape, classes: int) -> nn.Module:
    """ResNet-50 of bottlenecks."""
    return _resnet("resnet50", input_shape, classes)


def resnet101(input_shape: InputShape, classes: int) -> nn.Module:
    """ResNet-101 of bottlenecks."""
    return _resnet("resnet101", input_shape, classes)


def wide_resnet50(input_shape: InputShape, classes: int) -> nn.Module:
    """Wide ResNet-50-2: bottlenecks of twice the inner channels."""
    return _resnet("wide_resnet50", input_shape, classes)


def _resnet(name: str, input_shape: InputShape, classes: int) -> nn.Module:
    from torch import nn
    from torchvision.models import resnet  # takes seconds to import, and only these networks need it

    builders = {
        "resnet18": resnet.resnet18,
        "resnet34": resnet.resnet34,
        "resnet50": resnet.resnet50,
        "resnet101": resnet.resnet101,
        "wide_resnet50": resnet.wide_resnet50_2,
    }
    network: Any = builders[name](weights=None, num_classes=classes)
    channels, height, width = input_shape
    if min(height, width) < SMALL:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    elif channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    network.fc = linear(network.fc.in_features, classes)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.affine = False
            module.register_parameter("weight", None)
            module.register_parameter("bias", None)
    return cast("nn.Module", network)


RESNET18 = Network("ResNet-18", resnet18, smallest_sides={1: 8})
RESNET34 = Network("ResNet-34", resnet34, smallest_sides={1: 8})
RESNET50 = Network("ResNet-50", resnet50, smallest_sides={1: 8})
RESNET101 = Network("ResNet-101", resnet101, smallest_sides={1: 8})
WIDE_RESNET50 = Network("Wide ResNet-50", wide_resnet50, smallest_sides={1: 8})
