"""A method attached to a network: each layer's weight comes from the method's state until the selection is baked in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.methods.card import Method
from trainers.methods.snapshots import mask_in_use
from trainers.streams import GOLDEN, mixed, signed, torch_generator

KEYS_OF_THE_GENERATOR = ("cpu",)  # kinds of devices; pinned numbers hang on it
WEIGHTED_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


class SelectedWeight(nn.Module):
    """A parametrization that makes a layer's weight from fixed random numbers and a trainable `original`."""

    sample_at_evaluation = False
    evaluation_samples = 1  # passes over which an evaluation that samples is averaged
    evaluated_both_ways = False  # whether it is told how it does sampled and not, whichever of them the recipe wants
    fixed: Tensor  # of a mask: the weights that it keeps or drops
    choices = 2  # a connection's, all known from the seed: for a mask, to drop or to keep

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("noise", None, persistent=False)
        self.register_buffer("free", None, persistent=False)

    free: Tensor | None  # which connections have a choice, booleans of the weight's shape; None: all of them
    noise: Tensor | None  # an int64 that counts the passes since `seed_noise`; None where the generator gives the keys

    def seed_noise(self, key: int, device: torch.device) -> None:
        """Starts the stream of noise keys, of devices where each pass takes its key from a counter."""
        if device.type not in KEYS_OF_THE_GENERATOR:
            if self.noise is None:
                with torch.inference_mode(False):  # evaluation may be the first to want it
                    self.noise = torch.empty((), dtype=torch.int64, device=device)
            self.noise.fill_(signed(key))

    def noise_key(self, device: torch.device) -> Tensor:
        """An int64 on the device, another one in every pass: the key of all numbers of one pass through this layer.

        Counted on the device, it goes into a CUDA graph: each replay draws what the plain step would have drawn.
        """
        if self.noise is None:
            return torch.randint(-(1 << 63), (1 << 63) - 1, (), device=device)
        key: Tensor = mixed(self.noise.add_(signed(GOLDEN)).clone())
        return key

    def begin_epoch(self, share: float) -> None:
        """Told before each epoch of a slot phase which share of it is done, where the method `looks_at_length`."""

    def selected(self, original: Tensor) -> Tensor:
        """The weight that the present state stands for, without sampling: what baking leaves. A fresh tensor."""
        raise NotImplementedError

    def described(self, original: Tensor, weight: Tensor) -> dict[str, Any]:
        """What `trainers.methods.snapshots.LayerSelection` says of the selected `weight`. Here that of a mask."""
        return mask_in_use(self.fixed, weight != 0)

    def changed(self, before: Tensor, now: Tensor) -> int:
        """How many connections have chosen something else, from the weights selected before and now."""
        return int((now != before).sum())

    def chosen(self, original: Tensor) -> Tensor:
        """What every connection has chosen, as integers below `choices`, of the weight's shape. Here that of a mask."""
        return self.selected(original) != 0

    def chosen_weight(self, chosen: Tensor) -> Tensor:
        """The weight of these choices, bit for bit as `selected` gives it. A mask keeps what has 1 and drops 0."""
        return self.selected(chosen.to(torch.float32))

    def beside_choices(self) -> Tensor | None:
        """What the weight hangs on besides choices and seed, a vector in float32 as long as the weight is; None: on
        nothing."""
        return None

    def take_beside_choices(self, found: Tensor) -> None:
        """Takes this for what `beside_choices` gives."""
        raise NotImplementedError


def weighted_layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers whose weights a method can give, by their paths."""
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED_LAYERS):
            yield name, module


def attach(network: nn.Module, method: Method, seed: int) -> None:
    """Attach the method to every linear and convolutional layer, but for a last one that it solves for.

    What else has parameters (biases, affine normalisation) stays as it was initialised and is not trained in the slot
    phase; it is trained in the finetune phase, like the weights.
    """
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    layers = list(weighted_layers(network))
    if method.solved:
        _, last = layers.pop()
        last.weight.requires_grad_(True)
    for name, layer in layers:
        method.attach(layer, name, seed)
    for _, selection, original in selected_weights(network):
        for trained in (original, *selection.parameters()):
            trained.requires_grad_(True)


def selected_weights(network: nn.Module) -> Iterator[tuple[str, SelectedWeight, Tensor]]:
    """Path, parametrization and trainable `original` of every layer that a method is attached to."""
    for name, layer in weighted_layers(network):
        if parametrize.is_parametrized(layer, "weight"):
            chain: Any = layer.parametrizations
            yield name, chain.weight[0], chain.weight.original


def bake(network: nn.Module) -> None:
    """Leave the selected weights in the layers as ordinary parameters, and make every parameter trainable."""
    with torch.no_grad():
        for name, selection, original in list(selected_weights(network)):
            layer: Any = network.get_submodule(name)
            weight = selection.selected(original)
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
            layer.weight = nn.Parameter(weight)
    for parameter in network.parameters():
        parameter.requires_grad_(True)


@torch.no_grad()
def shuffle_weights(network: nn.Module, seed: int) -> None:
    """Put the weights of each layer into random order: what is left of a selection is each layer's distribution."""
    for name, layer in weighted_layers(network):
        weight = layer.weight
        assert isinstance(weight, Tensor)
        order = torch.randperm(weight.numel(), generator=torch_generator("cpu", seed, "shuffled weights", name))
        weight.copy_(weight.flatten()[order.to(weight.device)].view_as(weight))
