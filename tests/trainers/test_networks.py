"""The networks: their exact sizes, and that they are what they are said to be."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from trainers.networks import NETWORKS, build_network
from trainers.recipe import Recipe
from trainers.validation import InvalidInput

MNIST = (1, 28, 28)
CIFAR = (3, 32, 32)
DIGITS = (1, 8, 8)


def recipe(network: str, **fields: object) -> Recipe:
    dataset = "mnist" if network == "lenet" else "cifar10"
    return Recipe.complete({"network": network, "dataset": dataset, "method": "learned", **fields})


def weights(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("network", "padding", "count"),
    [
        ("lenet", 1, 266_200),
        ("conv2", 1, 4_300_992),
        ("conv4", 1, 2_425_024),
        ("conv6", 1, 2_261_184),
        ("conv2", 0, 3_317_952),
        ("conv4", 0, 1_147_072),
        ("conv6", 0, 1_474_752),
    ],
)
def test_a_network_has_exactly_the_published_number_of_weights(network, padding, count):
    with torch.device("meta"):
        built = build_network(recipe(network, padding=padding), MNIST if network == "lenet" else CIFAR, 10)
    assert weights(built) == count


@pytest.mark.parametrize("network", NETWORKS)
def test_no_network_has_biases(network):
    with torch.device("meta"):
        built = build_network(recipe(network), CIFAR, 10)
    assert not [name for name, _ in built.named_parameters() if not name.endswith(".weight")]


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("classes", [10, 7])
def test_a_network_gives_a_score_per_class_and_every_weight_gets_a_gradient(network, classes):
    torch.manual_seed(0)
    built = build_network(recipe(network), CIFAR, classes)
    scores = built(torch.randn(2, *CIFAR))
    assert scores.shape == (2, classes)
    scores.sum().backward()
    for name, parameter in built.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("shape", [DIGITS, MNIST, CIFAR, (3, 5, 9)])
def test_lenet_takes_images_of_any_shape(shape):
    built = build_network(recipe("lenet"), shape, 10)
    assert built(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("shape", [MNIST, (3, 33, 47)])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("network", ["conv2", "conv4", "conv6"])
def test_conv_networks_take_images_of_other_shapes(network, padding, shape):
    built = build_network(recipe(network, padding=padding), shape, 10)
    assert built(torch.zeros(2, *shape)).shape == (2, 10)


def test_images_too_small_for_a_network_are_refused_with_the_smallest_that_fit():
    with pytest.raises(InvalidInput, match=r"network: conv6 needs images of at least 20 x 20 pixels, not 8 x 8"):
        build_network(recipe("conv6", padding=0), DIGITS, 10)
    smallest = build_network(recipe("conv6", padding=0), (1, 20, 20), 10)
    assert smallest(torch.zeros(2, 1, 20, 20)).shape == (2, 10)


def test_width_multiplies_the_channels_of_every_hidden_layer():
    built = build_network(recipe("conv4", width=0.5), CIFAR, 10)
    shapes = {name: tuple(weight.shape) for name, weight in built.named_parameters()}
    assert shapes == {
        "conv1.weight": (32, 3, 3, 3),
        "conv2.weight": (32, 32, 3, 3),
        "conv3.weight": (64, 32, 3, 3),
        "conv4.weight": (64, 64, 3, 3),
        "fc1.weight": (128, 64 * 8 * 8),
        "fc2.weight": (128, 128),
        "fc3.weight": (10, 128),
    }
    narrow = build_network(recipe("lenet", width=0.001), MNIST, 10)
    assert [tuple(weight.shape) for weight in narrow.parameters()] == [(1, 784), (1, 1), (10, 1)]


def test_conv_networks_equal_the_same_layers_written_out_in_the_usual_order():
    torch.manual_seed(0)
    built = build_network(recipe("conv4", padding=0, dropout=0.0), CIFAR, 10).double()
    images = torch.randn(4, *CIFAR, dtype=torch.float64)
    weight = dict(built.named_parameters())
    relu, pool, conv = torch.relu, nn.functional.max_pool2d, nn.functional.conv2d
    hidden = images
    for pair in ((1, 2), (3, 4)):
        for number in pair:
            hidden = relu(conv(hidden, weight[f"conv{number}.weight"]))
        hidden = pool(hidden, 2)
    hidden = hidden.flatten(1)
    hidden = relu(hidden @ weight["fc1.weight"].T)
    hidden = relu(hidden @ weight["fc2.weight"].T)
    expected = hidden @ weight["fc3.weight"].T
    actual = built(images)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)
    ours = torch.autograd.grad(actual.square().sum(), list(weight.values()))
    theirs = torch.autograd.grad(expected.square().sum(), list(weight.values()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_dropout_stands_before_the_first_two_linear_layers_only():
    names = [name for name, _ in build_network(recipe("conv2"), CIFAR, 10).named_children()]
    assert [names[names.index(f"fc{number}") - 1] for number in (1, 2, 3)] == ["dropout1", "dropout2", "fc_relu2"]
    built = build_network(recipe("conv2", dropout=0.25), CIFAR, 10)
    assert [module.p for module in built.modules() if isinstance(module, nn.Dropout)] == [0.25, 0.25]


def test_layers_have_the_same_names_whatever_the_dropout():
    one, other = (build_network(recipe("conv2", dropout=rate), CIFAR, 10) for rate in (0.0, 0.5))
    assert list(dict(one.named_parameters())) == list(dict(other.named_parameters()))


def test_a_field_that_a_network_does_not_have_is_refused():
    with pytest.raises(InvalidInput, match=r"dropout: lenet has no such field, so it must be 0\.0, not 0\.5"):
        build_network(recipe("lenet", dropout=0.5), MNIST, 10)
