"""Tickets: a trained network in one small file, as the seed, the recipe and what every connection has chosen.

The options of a slot machine, and the fixed weights under a mask, are drawn again from the seed; so a slot machine
takes at most ceil(log2 K) bits a connection, a mask 1, and fewer where entropy coding gains. What a seed cannot give is
stored as it is: running statistics, biases, and weights that were learned (32 bits each).

A ticket holds one network, the one that finetuning would start from: a probabilistic slot machine's arg-max, a
supermask's threshold. A method that evaluates by sampling was measured on others, drawn around it.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.errors import explain
from trainers.methods.base import attach, selected_weights, weighted_layers
from trainers.methods.registry import METHODS, build_method
from trainers.networks.layers import InputShape
from trainers.networks.registry import build_network
from trainers.recipe.recipe import Recipe
from trainers.tickets.entropy_coding import (
    MOST_SYMBOLS,
    ROWS,
    Coded,
    CodingError,
    Symbols,
    decode,
    encode,
    pack,
    packed_bytes,
    unpack,
)
from trainers.tickets.file_format import Arrays, TicketError, read_arrays, read_fields, seal
from trainers.tickets.trained_network import input_shape_of

__all__ = ["TicketError", "connections", "encode_ticket", "load_ticket", "save_ticket", "stored_bits_per_weight"]

KEPT = "kept."  # before the name of a tensor that is stored as it is
PACKED, CODED = "packed", ("coded.frequencies", "coded.states", "coded.words")
FIELDS = {"weights_sha256", "input_shape", "classes", "recipe"}
MOST_CONNECTIONS_A_BYTE = ROWS // 4  # choices that are all alike take no more than the coders' states
MOST_CONNECTIONS = 1 << 27  # unless the file has as many bytes
MOST_BYTES_MORE = 1 << 20  # than the network has as it is
MOST_OF_A_SHAPE = 1 << 20  # classes, channels, pixels


def save_ticket(network: nn.Module, recipe: Recipe, path: Path | str, *, input_shape: InputShape | None = None) -> int:
    """Write the network that the recipe led to as a ticket; returns its bytes. Replaces a file that was there.

    input_shape: of the images, if they are not of the shape that the recipe's data set has.
    Raises TicketError for a network that cannot be had again from the recipe, or where the file cannot be written.
    """
    path = Path(path)
    content = encode_ticket(network, recipe, input_shape)
    try:
        _read(io.BytesIO(content), len(content))
    except TicketError as error:
        raise TicketError(f"network: its ticket could not be read again: {error}") from None
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise TicketError(f"ticket: {path} cannot be written: {error.strerror}") from None
    return len(content)


def load_ticket(path: Path | str) -> tuple[nn.Module, Recipe]:
    """The network, ready to evaluate, with the very weights that were saved; and its recipe. On the CPU.

    Raises TicketError, with the reason, for what is no ticket, or not a whole and unaltered one.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise TicketError("there is no such file")
        with path.open("rb") as file:
            return _read(file, path.stat().st_size)
    except TicketError as error:
        raise TicketError(f"ticket: {path}: {error}") from None
    except OSError as error:
        raise TicketError(f"ticket: {path}: it cannot be read: {error.strerror}") from None


def stored_bits_per_weight(network: nn.Module, recipe: Recipe, input_shape: InputShape | None = None) -> float:
    """Bits of the network's ticket, all of its file, per connection."""
    return 8 * len(encode_ticket(network, recipe, input_shape)) / connections(network)


def connections(network: nn.Module) -> int:
    """The weights of linear and convolutional layers."""
    return sum(math.prod(shape) for shape in _weight_shapes(network).values())


def encode_ticket(network: nn.Module, recipe: Recipe, input_shape: InputShape | None = None) -> bytes:
    """The ticket as the bytes of its file. Raises TicketError for a network that is not the recipe's."""
    *_, last = _weight_shapes(network).values()
    plan = _plan(recipe, input_shape or input_shape_of(recipe), classes=last[0])
    if _weight_shapes(network) != plan.weights:
        raise TicketError(f"network: it is not the {recipe.network} of the recipe")
    parts = _parts(network)
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in {**parts.kept, **parts.weights}.items()}
    if found != plan.expected:
        raise TicketError(f"network: its tensors are not those of the {recipe.network} of the recipe, in float32")
    arrays = {KEPT + name: tensor.detach().cpu().contiguous().numpy() for name, tensor in parts.kept.items()}
    fields = {
        "weights_sha256": _digest(parts.weights.values()),
        "input_shape": list(plan.input_shape),
        "classes": plan.classes,
        "recipe": recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"}),  # it states everything
    }
    return seal({**arrays, **_symbol_arrays(parts.symbols, parts.choices)}, fields)


@dataclass(frozen=True)
class _Plan:
    """What the recipe's network has once its weights are ordinary ones."""

    recipe: Recipe
    input_shape: InputShape
    classes: int
    expected: dict[str, tuple[tuple[int, ...], torch.dtype]]  # its tensors
    weights: dict[str, tuple[int, ...]]  # those of them that a method can give

    @property
    def most_bytes(self) -> int:
        return sum(math.prod(shape) * dtype.itemsize for shape, dtype in self.expected.values()) + MOST_BYTES_MORE


def _plan(recipe: Recipe, input_shape: InputShape, classes: int) -> _Plan:
    """Built without allocating a weight. Raises TicketError where the recipe makes no network."""
    try:
        with torch.device("meta"):
            network = build_network(recipe, input_shape, classes)
    except (ValueError, OverflowError, RuntimeError, TypeError) as error:
        raise TicketError(f"recipe: it makes no network: {error}") from None
    expected = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in network.state_dict().items()}
    return _Plan(recipe, input_shape, classes, expected, _weight_shapes(network))


def _weight_shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shapes of the weights that a method can give, by the names they have once they are ordinary ones."""
    attached = {name: original for name, _, original in selected_weights(network)}
    shapes = {}
    for name, layer in weighted_layers(network):
        weight: Any = attached.get(name)
        if weight is None:  # else to look at layer.weight would be to select it again
            weight = layer.weight
        shapes[f"{name}.weight"] = tuple(weight.shape)
    return shapes


@dataclass
class _Parts:
    """A network taken apart; names are those that its tensors have once its weights are ordinary ones."""

    kept: dict[str, Tensor]  # stored as they are
    weights: dict[str, Tensor]  # can be drawn again, given the symbols
    symbols: list[Symbols]  # one array for each of the weights
    choices: int = 0  # the symbols are below this


def _parts(network: nn.Module) -> _Parts:
    kept = {name: tensor for name, tensor in network.state_dict().items() if ".parametrizations." not in name}
    parts = _Parts(kept, {}, [])
    with torch.no_grad():
        for layer, selection, original in selected_weights(network):
            if original.dtype != torch.float32:
                raise TicketError(f"network: its {layer}.weight is {original.dtype}, and tickets are of torch.float32")
            name, weight = f"{layer}.weight", selection.selected(original)
            assert parts.choices in (0, selection.choices), "one method gives all layers their weights"
            parts.choices, parts.weights[name] = selection.choices, weight
            parts.symbols.append(selection.chosen(original).flatten().cpu().numpy().astype(np.uint16))
    return parts


def _symbol_arrays(symbols: list[Symbols], choices: int) -> Arrays:
    """The symbols packed or, where that takes fewer bytes, entropy-coded."""
    if not symbols:
        return {}
    count = sum(len(part) for part in symbols)
    if choices <= MOST_SYMBOLS:
        coded = encode(symbols, choices)
        if coded.nbytes < packed_bytes(count, choices) or choices == 1:
            return dict(zip(CODED, (coded.frequencies, coded.states, coded.words), strict=True))
    return {PACKED: pack(np.concatenate(symbols), choices)}


def _digest(weights: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(file: BinaryIO, size: int) -> tuple[nn.Module, Recipe]:
    fields = read_fields(file, size)
    if set(fields) != FIELDS or not isinstance(fields["recipe"], dict):
        raise TicketError(f"its metadata are {', '.join(sorted(fields))}, not {', '.join(sorted(FIELDS))}")
    channels_and_pixels, classes = fields["input_shape"], fields["classes"]
    numbers = [*channels_and_pixels, classes] if isinstance(channels_and_pixels, list) else []
    if len(numbers) != 4 or any(type(number) is not int or not 0 < number <= MOST_OF_A_SHAPE for number in numbers):
        raise TicketError(f"its input_shape and classes make no sense: {channels_and_pixels!r}, {classes!r}")
    try:
        recipe = Recipe.model_validate(fields["recipe"])
    except ValidationError as error:
        raise TicketError(explain(error, Recipe.model_fields, "recipe.")) from None
    plan = _plan(recipe, tuple(channels_and_pixels), classes)
    wanted = sum(math.prod(shape) for shape in plan.weights.values())
    if wanted > min(MOST_CONNECTIONS_A_BYTE * size, max(MOST_CONNECTIONS, size)):
        raise TicketError(f"its recipe's network has {wanted:,} connections, and the file only {size:,} bytes")
    arrays = read_arrays(file, plan.most_bytes)
    kept = {name.removeprefix(KEPT): array for name, array in arrays.items() if name.startswith(KEPT)}
    drawn = _names_to_draw(kept, plan)
    network = _build(plan, attached=bool(drawn))
    choices = {name: array for name, array in arrays.items() if not name.startswith(KEPT)}
    weights = _draw(network, {name: plan.weights[name] for name in drawn}, choices)
    if _digest(weights.values()) != fields["weights_sha256"]:
        raise TicketError("the weights drawn from its seed are not those that were saved: other rules drew them")
    for name, _, _ in list(selected_weights(network)):
        parametrize.remove_parametrizations(network.get_submodule(name), "weight", leave_parametrized=False)
    network.load_state_dict({**weights, **{name: torch.tensor(array) for name, array in kept.items()}})
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval(), recipe


def _names_to_draw(kept: Arrays, plan: _Plan) -> list[str]:
    """The names of the weights that are not kept. Raises TicketError where those that are kept do not fit."""
    for name, array in kept.items():
        if name not in plan.expected:
            raise TicketError(f"it has a tensor {name!r}, and {plan.recipe.network} has none of that name")
        shape, dtype = plan.expected[name]
        wanted = torch.empty(0, dtype=dtype).numpy().dtype
        if (array.shape, array.dtype) != (shape, wanted):
            raise TicketError(f"its {name} is {array.dtype} {array.shape}, not {wanted} {shape}")
    if missing := set(plan.expected) - set(kept) - set(plan.weights):
        raise TicketError(f"it lacks {', '.join(sorted(missing))}")
    drawn = [name for name in plan.weights if name not in kept]
    if drawn and not METHODS[plan.recipe.method].slot_phase:
        raise TicketError(f"it lacks {', '.join(drawn)}, and {plan.recipe.method} weights cannot be drawn")
    return drawn


def _build(plan: _Plan, attached: bool) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = build_network(plan.recipe, plan.input_shape, plan.classes)
        if attached:
            attach(network, build_method(plan.recipe), plan.recipe.seed)
    return network


@torch.no_grad()
def _draw(network: nn.Module, shapes: dict[str, tuple[int, ...]], arrays: Arrays) -> dict[str, Tensor]:
    """The weights of these names and shapes, from the seed and what the arrays say was chosen."""
    selections = {f"{name}.weight": selection for name, selection, _ in selected_weights(network)}
    choices = max((selections[name].choices for name in shapes), default=0)
    symbols = _symbols(arrays, [math.prod(shape) for shape in shapes.values()], choices)
    chosen = (torch.from_numpy(part.astype(np.int64)) for part in symbols)
    return {
        name: selections[name].chosen_weight(part.view(shape))
        for (name, shape), part in zip(shapes.items(), chosen, strict=True)
    }


def _symbols(arrays: Arrays, sizes: list[int], choices: int) -> list[Symbols]:
    """What `_symbol_arrays` made arrays of. Raises TicketError for other ones."""
    try:
        if not sizes:
            if arrays:
                raise CodingError(f"nothing is to be chosen, and there is {', '.join(arrays)}")
            return []
        if set(arrays) == set(CODED) and choices <= MOST_SYMBOLS:
            return decode(Coded(*(arrays[name] for name in CODED)), sizes, choices)
        if set(arrays) == {PACKED}:
            return np.split(unpack(arrays[PACKED], sum(sizes), choices), np.cumsum(sizes)[:-1])
        raise CodingError(f"choices are {PACKED} or {', '.join(CODED)}, not {', '.join(sorted(arrays)) or 'missing'}")
    except CodingError as error:
        raise TicketError(f"its choices cannot be read: {error}") from None
