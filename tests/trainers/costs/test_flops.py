"""FLOPs against counts by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from trainers.costs.counting import forward_flops, training_flops
from trainers.costs.flops import recounted, training_flops_per_epoch
from trainers.errors import InvalidInput
from trainers.networks.registry import NETWORKS, build_network
from trainers.recipe.recipe import Recipe

LENET = 2 * (784 * 300 + 300 * 100 + 100 * 10)
# Every pixel of a convolution's output takes 9 multiply-adds per pair of channels.
CONV2 = 2 * (32 * 32 * 9 * (3 * 64 + 64 * 64) + 16 * 16 * 64 * 256 + 256 * 256 + 256 * 10)
CONV2_UNPADDED = 2 * (9 * (30 * 30 * 3 * 64 + 28 * 28 * 64 * 64) + 14 * 14 * 64 * 256 + 256 * 256 + 256 * 10)


def recipe(network: str, dataset: str, **fields: object) -> Recipe:
    return Recipe.complete(
        {"network": network, "dataset": dataset, "method": "learned", "finetune_epochs": 1, **fields}
    )


@pytest.mark.parametrize(
    ("network", "padding", "shape", "count"),
    [
        ("lenet", 1, (1, 28, 28), LENET),
        ("conv2", 1, (3, 32, 32), CONV2),
        ("conv2", 0, (3, 32, 32), CONV2_UNPADDED),
    ],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_forward_flops_are_those_counted_by_hand(network, padding, shape, count, batch):
    built = build_network(recipe(network, "mnist" if network == "lenet" else "cifar10", padding=padding), shape, 10)
    assert forward_flops(built, shape, batch) == batch * count


def test_training_takes_three_forward_passes_less_the_gradient_of_the_images():
    trained = 51_000 * (3 * LENET - 2 * 784 * 300)
    assert training_flops_per_epoch(recipe("lenet", "mnist", validation_examples=9000)) == trained
    assert round(trained / 1e9, 1) == 57.5  # GFLOP, where 81.5 were counted once
    first = 2 * 32 * 32 * 9 * 3 * 64
    assert training_flops_per_epoch(recipe("conv2", "cifar10", validation_examples=5000)) == 45_000 * (
        3 * CONV2 - first
    )
    unpadded = recipe("conv2", "cifar10", validation_examples=5000, padding=0)
    assert training_flops_per_epoch(unpadded) == 45_000 * (3 * CONV2_UNPADDED - 2 * 9 * 30 * 30 * 3 * 64)


def test_training_counts_what_autograd_computes():
    """Against the counter in a real backward pass, which is right where no convolution is grouped."""
    for network in ("lenet", "conv2"):
        built = build_network(recipe(network, "cifar10"), (3, 32, 32), 10)
        with FlopCounterMode(display=False) as counter:
            built(torch.randn(2, 3, 32, 32)).sum().backward()
        assert training_flops(built, (3, 32, 32), 2) == counter.get_total_flops()


def test_flops_counted_as_three_forward_passes_are_counted_anew():
    for given, flops in (
        (recipe("lenet", "mnist", validation_examples=9000), 3 * 51_000 * LENET),
        (recipe("conv2", "cifar10", validation_examples=5000), 3 * 45_000 * CONV2),
    ):
        assert recounted(7 * flops, given) == 7 * training_flops_per_epoch(given)
        assert recounted(flops + 0.5, given) == pytest.approx(training_flops_per_epoch(given))
    folder = recipe("lenet", "image_folder", image_size=16, validation_examples=10)
    exact = training_flops_per_epoch(folder, train_examples=110, classes=1000)
    assert recounted(3 * 100 * 2 * (768 * 300 + 300 * 100 + 100 * 1000), folder) == exact


def test_width_changes_the_flops_and_the_method_does_not():
    half = training_flops_per_epoch(recipe("lenet", "mnist", width=0.5, validation_examples=9000))
    assert half == 51_000 * 2 * (2 * 784 * 150 + 3 * (150 * 50 + 50 * 10))
    slots = recipe("lenet", "mnist", validation_examples=9000, method="slot_machine", options=64)
    learned = recipe("lenet", "mnist", validation_examples=9000)
    assert training_flops_per_epoch(slots) == training_flops_per_epoch(learned)


def test_grouped_and_strided_convolutions_are_counted_right():
    grouped = nn.Sequential(nn.Conv2d(8, 16, 3, groups=4, stride=2, padding=1), nn.Flatten(), nn.Linear(16 * 16, 5))
    assert forward_flops(grouped, (8, 8, 8), 3) == 3 * 2 * (4 * 4 * 16 * 2 * 9 + 16 * 16 * 5)


def test_counting_leaves_the_network_as_it_was():
    built = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 2)).eval()
    before = {name: tensor.clone() for name, tensor in built.state_dict().items()}
    forward_flops(built, (3, 8, 8), 2)
    assert not any(module.training for module in built.modules())
    for name, tensor in built.state_dict().items():
        assert torch.equal(tensor, before[name]), name


class Uncounted(TorchDispatchMode):
    """The operations that the counter has no formula for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket not in flop_registry:
            self.names.add(function.overloadpacket.__name__.rstrip("_"))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_costly_goes_uncounted_in_any_network(network):
    with torch.device("meta"):
        built = build_network(recipe(network, "mnist" if network == "lenet" else "cifar10"), (3, 32, 32), 10)
    with torch.no_grad(), Uncounted() as uncounted:
        built(torch.empty(2, 3, 32, 32, device="meta"))
    assert "relu" in uncounted.names
    assert not [name for name in uncounted.names if "mm" in name or "conv" in name]


def test_a_folder_of_images_needs_its_numbers_of_images_and_classes():
    folder = recipe("lenet", "image_folder", image_size=16, validation_examples=10)
    with pytest.raises(InvalidInput, match="dataset: the numbers of images and classes of image_folder must be given"):
        training_flops_per_epoch(folder)
    by_hand = 90 * 2 * (2 * 3 * 16 * 16 * 300 + 3 * (300 * 100 + 100 * 7))
    assert training_flops_per_epoch(folder, train_examples=100, classes=7) == by_hand
