"""The networks: their exact sizes, and that they are what they are said to be."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from trainers.errors import InvalidInput
from trainers.networks.registry import NETWORKS, build_network
from trainers.recipe.recipe import Recipe

MNIST = (1, 28, 28)
CIFAR = (3, 32, 32)
DIGITS = (1, 8, 8)


def recipe(network: str, **fields: object) -> Recipe:
    dataset = "mnist" if network == "lenet" else "cifar10"
    return Recipe.complete(
        {"network": network, "dataset": dataset, "method": "learned", "finetune_epochs": 1, **fields}
    )


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
        ("vgg19", 1, 20_024_000),
        ("alexnet", 1, 23_262_912),
    ],
)
def test_a_network_has_exactly_the_published_number_of_weights(network, padding, count):
    with torch.device("meta"):
        built = build_network(recipe(network, padding=padding), MNIST if network == "lenet" else CIFAR, 10)
    assert weights(built) == count


@pytest.mark.parametrize(
    ("network", "torchvisions", "count"),
    [  # torchvision's published numbers of parameters, and the names of its builders
        ("resnet18", "resnet18", 11_689_512),
        ("resnet34", "resnet34", 21_797_672),
        ("resnet50", "resnet50", 25_557_032),
        ("resnet101", "resnet101", 44_549_160),
        ("wide_resnet50", "wide_resnet50_2", 68_883_240),
    ],
)
def test_resnets_are_torchvisions_less_biases_and_affine_parameters(network, torchvisions, count):
    with torch.device("meta"):
        ours = build_network(recipe(network), (3, 224, 224), 1000)
        theirs = get_model(torchvisions, weights=None)
    assert weights(theirs) == count
    kept = {name: weight.shape for name, weight in theirs.named_parameters() if weight.ndim > 1}
    assert {name: weight.shape for name, weight in ours.named_parameters()} == kept
    assert [type(module) for module in ours.modules()] == [type(module) for module in theirs.modules()]


def test_resnets_keep_small_images_large_and_take_any_number_of_channels():
    for shape, side in ((CIFAR, 4), ((1, 63, 63), 8), ((1, 64, 64), 2), ((3, 224, 224), 7)):
        built = build_network(recipe("resnet18"), shape, 10)
        sizes = []
        built.layer4.register_forward_hook(lambda module, inputs, output, sizes=sizes: sizes.append(output.shape[2:]))
        assert built(torch.zeros(2, *shape)).shape == (2, 10)
        assert sizes == [(side, side)]


@pytest.mark.parametrize("network", ["vgg19", "resnet18", "resnet50"])
def test_batch_normalisation_has_no_affine_parameters_and_still_normalises(network):
    built = build_network(recipe(network), CIFAR, 10)
    norms = [module for module in built.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.weight is None and norm.bias is None and not norm.affine for norm in norms)
    built(torch.randn(4, *CIFAR))
    assert all(norm.num_batches_tracked == 1 for norm in norms)
    built.eval()(torch.randn(4, *CIFAR))
    assert all(norm.num_batches_tracked == 1 for norm in norms)


def test_vgg_has_four_convolutions_of_256_channels_in_its_third_block():
    with torch.device("meta"):
        built = build_network(recipe("vgg19"), CIFAR, 10)
    names = [name for name, _ in built.named_children() if not name.startswith(("norm", "relu"))]
    third = names[names.index("pool2") + 1 : names.index("pool3")]
    assert [built.get_submodule(name).out_channels for name in third] == [256] * 4


@pytest.mark.parametrize("network", NETWORKS)
def test_no_network_has_biases(network):
    with torch.device("meta"):
        built = build_network(recipe(network), CIFAR, 10)
    assert not [name for name, _ in built.named_parameters() if not name.endswith(".weight")]


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_says_whether_it_has_convolutions(network):
    with torch.device("meta"):
        built = build_network(recipe(network), CIFAR, 10)
    assert NETWORKS[network].convolutions is any(isinstance(layer, nn.Conv2d) for layer in built.modules())


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_gives_a_score_per_class_and_every_weight_gets_a_gradient(network):
    torch.manual_seed(0)
    classes = 7
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
@pytest.mark.parametrize(
    ("network", "padding"),
    [*itertools.product(["conv2", "conv4", "conv6"], [0, 1]), ("vgg19", 1), ("alexnet", 1), ("resnet18", 1)],
)
def test_networks_take_images_of_other_shapes(network, padding, shape):
    with torch.device("meta"):
        built = build_network(recipe(network, padding=padding), shape, 10)
        assert built(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize(
    ("network", "padding", "side"),
    [
        ("conv2", 1, 2),
        ("conv2", 0, 6),
        ("conv4", 0, 16),
        ("conv6", 1, 8),
        ("conv6", 0, 20),
        ("vgg19", 1, 16),
        ("alexnet", 1, 15),
        ("resnet18", 1, 8),
    ],
)
def test_images_too_small_for_a_network_are_refused_and_the_smallest_that_fit_taken(network, padding, side):
    chosen = recipe(network, padding=padding)
    with torch.device("meta"):
        message = rf"network: {network} needs images of at least {side} x {side} pixels, not {side - 1} x {side}"
        with pytest.raises(InvalidInput, match=message):
            build_network(chosen, (1, side - 1, side), 10)
        assert build_network(chosen, (1, side, side), 10)(torch.zeros(2, 1, side, side)).shape == (2, 10)


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


@pytest.mark.parametrize("network", ["alexnet", "vgg19"])
def test_width_multiplies_every_layer_of_the_larger_networks_too(network):
    with torch.device("meta"):
        whole, half = (build_network(recipe(network, width=width), CIFAR, 10) for width in (1.0, 0.5))
    shapes = zip(whole.named_parameters(), half.named_parameters(), strict=True)
    for (name, large), (_, small) in shapes:
        first, last = name.startswith("conv1."), name.startswith("fc") and large.shape[0] == 10
        assert small.shape[0] * (1 if last else 2) == large.shape[0], name
        assert small.shape[1] * (1 if first else 2) == large.shape[1], name


@pytest.mark.parametrize(
    ("network", "field", "value", "neutral"),
    [
        ("lenet", "dropout", 0.5, "0.0"),
        ("lenet", "padding", 0, "1"),
        ("vgg19", "dropout", 0.5, "0.0"),
        ("vgg19", "padding", 0, "1"),
        ("alexnet", "padding", 0, "1"),
        ("resnet18", "width", 2.0, "1.0"),
        ("wide_resnet50", "dropout", 0.5, "0.0"),
    ],
)
def test_a_field_that_a_network_does_not_have_is_refused(network, field, value, neutral):
    message = rf"{field}: {network} has no such field, so it must be {neutral}, not {value}"
    with pytest.raises(InvalidInput, match=message):
        build_network(recipe(network, **{field: value}), CIFAR, 10)


def test_building_lenet_and_the_conv_networks_imports_no_torchvision():
    loaded = "[name for name in sys.modules if name.startswith('torchvision')]"
    built = "[NETWORKS[name]((3, 32, 32), 10) for name in ('lenet', 'conv2', 'conv6')]"
    code = f"import sys; from trainers.networks.registry import NETWORKS; {built}; assert not {loaded}"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_takes_the_smallest_images_that_it_says_it_takes(network):
    for padding, side in NETWORKS[network].smallest_sides.items():
        fields = {"padding": padding} if "padding" in NETWORKS[network].fields else {}
        with torch.device("meta"):
            assert NETWORKS[network]((1, side, side), 10, **fields)(torch.zeros(2, 1, side, side)).shape == (2, 10)


@pytest.mark.parametrize("network", [name for name, known in NETWORKS.items() if known.smallest_side(1) <= 8])
def test_digits_take_every_network_that_takes_eight_pixels(network):
    chosen = Recipe.complete(
        {"network": network, "dataset": "digits", "method": "edge_popup", "padding": 1, "slot_epochs": 1}
    )
    with torch.device("meta"):
        assert build_network(chosen, DIGITS, 10)(torch.zeros(2, *DIGITS)).shape == (2, 10)
