"""Tickets: a trained network in one small file, as the seed, the recipe and what every connection has chosen.

The options of a slot machine, and the fixed weights under a mask, are drawn again from the seed; so a slot machine
takes at most ceil(log2 K) bits a connection, a mask 1, and fewer where entropy coding gains. Weights that were
converted are stored as the conversion's codes and scales. What is neither is stored as it is: running statistics,
biases, and weights that were learned (32 bits each).

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.conversions.card import Conversion
from trainers.conversions.registry import build_conversion
from trainers.data.registry import IMAGE_FOLDER, data_set_named
from trainers.errors import explain
from trainers.methods.base import SelectedWeight, attach, selected_weights, weighted_layers
from trainers.methods.registry import build_method, method_card
from trainers.networks.layers import InputShape
from trainers.networks.registry import build_network
from trainers.plugins.known import is_of_plugin
from trainers.recipe.recipe import Recipe
from trainers.tickets.contexts import Free, read_symbols, symbol_arrays
from trainers.tickets.entropy_coding import ROWS, CodingError, Symbols
from trainers.tickets.file_format import Arrays, TicketError, read_arrays, read_fields, seal
from trainers.tickets.trained_network import input_shape_of

__all__ = ["TicketError", "connections", "encode_ticket", "load_ticket", "save_ticket"]

KEPT = "kept."  # before the name of a tensor that is stored as it is
SCALES = "scales."  # before the name of the weight whose scales they are
FIELDS = {"weights_sha256", "input_shape", "classes", "recipe"}
CONVERTED = "converted"  # a field of tickets whose weights are those of their recipe's conversion
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


def connections(network: nn.Module) -> int:
    """The weights of linear and convolutional layers."""
    return sum(math.prod(shape) for shape in _weight_shapes(network).values())


def encode_ticket(network: nn.Module, recipe: Recipe, input_shape: InputShape | None = None) -> bytes:
    """The ticket as the bytes of its file. Raises TicketError for a network that is not the recipe's."""
    plan = _plan(recipe, input_shape or input_shape_of(recipe), _classes(network, recipe))
    if _weight_shapes(network) != plan.weights:
        raise TicketError(f"network: it is not the {recipe.network} of the recipe")
    parts = _parts(network, recipe)
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in {**parts.kept, **parts.weights}.items()}
    if found != plan.expected:
        raise TicketError(f"network: its tensors are not those of the {recipe.network} of the recipe, in float32")
    arrays = {KEPT + name: tensor.detach().cpu().contiguous().numpy() for name, tensor in parts.kept.items()}
    arrays |= {SCALES + name: scales.cpu().contiguous().numpy() for name, scales in parts.scales.items()}
    if parts.symbols:
        arrays |= symbol_arrays(parts.symbols, parts.choices, parts.free)
    fields = {
        "weights_sha256": _digest(parts.weights.values()),
        "input_shape": list(plan.input_shape),
        "classes": plan.classes,
        "recipe": recipe.model_dump(mode="json", exclude_none=True, exclude={"filled"}),  # it states everything
        **({CONVERTED: recipe.conversion} if parts.converted else {}),
    }
    return seal(arrays, fields)


def _classes(network: nn.Module, recipe: Recipe) -> int:
    """Those of the last layer; of the data for a plug-in's network, where what is last gives other numbers, too."""
    if is_of_plugin(recipe.network) and recipe.dataset != IMAGE_FOLDER:
        return data_set_named(recipe.dataset, recipe.plugins).classes
    *_, last = _weight_shapes(network).values()
    return last[0]


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
    weights: dict[str, Tensor]  # can be had again, given the symbols
    symbols: list[Symbols]  # a matrix (outputs, inputs) for each of the weights
    free: Free = field(default_factory=list)  # which of them are not known from the seed
    choices: int = 0  # the symbols are below this
    scales: dict[str, Tensor] = field(default_factory=dict)  # of converted weights, or what a method has beside choices
    converted: bool = False


def _parts(network: nn.Module, recipe: Recipe) -> _Parts:
    kept = {name: tensor for name, tensor in network.state_dict().items() if ".parametrizations." not in name}
    parts = _Parts(kept, {}, [])
    with torch.no_grad():
        for layer, selection, original in selected_weights(network):
            if original.dtype != torch.float32:
                raise TicketError(f"network: its {layer}.weight is {original.dtype}, and tickets are of torch.float32")
            name, weight = f"{layer}.weight", selection.selected(original)
            assert parts.choices in (0, selection.choices), "one method gives all layers their weights"
            parts.choices, parts.weights[name] = selection.choices, weight
            parts.symbols.append(_matrix(selection.chosen(original)))
            if (beside := selection.beside_choices()) is not None:
                parts.scales[name] = beside
            parts.free.append(_free(selection))
        conversion = build_conversion(recipe)
        if conversion is not None and not parts.symbols:
            _take_apart(parts, conversion, list(_weight_shapes(network)))
    return parts


def _take_apart(parts: _Parts, conversion: Conversion, names: list[str]) -> None:
    """Weights as codes and scales, if they are all of the conversion: while a network is trained they are not."""
    codes, scales = {}, {}
    for name in names:
        weight = parts.kept[name]
        codes[name], scales[name] = conversion.taken_apart(weight)
        if not _same(conversion.put_together(codes[name], scales[name]), weight):
            return
    parts.converted, parts.choices = True, conversion.codes
    parts.weights = {name: parts.kept.pop(name) for name in names}
    parts.symbols = [_matrix(codes[name]) for name in names]
    parts.scales = {name: found for name, found in scales.items() if len(found)}


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether they are the same bit for bit."""
    return torch.equal(first.view(torch.int32), second.contiguous().view(torch.int32))


def _free(selection: SelectedWeight) -> NDArray[np.bool_] | None:
    """Which of a layer's choices its seed does not tell, as a matrix like theirs; None: it tells none."""
    return None if selection.free is None else selection.free.flatten(1).cpu().numpy()


def _matrix(symbols: Tensor) -> Symbols:
    return symbols.flatten(1).cpu().numpy().astype(np.uint16)


def _digest(weights: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(weight.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(file: BinaryIO, size: int) -> tuple[nn.Module, Recipe]:
    fields = read_fields(file, size)
    if set(fields) - {CONVERTED} != FIELDS or not isinstance(fields["recipe"], dict):
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
    converted = CONVERTED in fields
    if converted and (recipe.conversion is None or fields[CONVERTED] != recipe.conversion):
        raise TicketError(f"its weights are {fields[CONVERTED]!r}, and its recipe converts to {recipe.conversion!r}")
    drawn = _names_to_draw(kept, plan, converted)
    network = _build(plan, attached=bool(drawn) and not converted)
    others = {name: array for name, array in arrays.items() if not name.startswith(KEPT)}
    shapes = {name: plan.weights[name] for name in drawn}
    weights = _put_together(recipe, shapes, others) if converted else _draw(network, shapes, others)
    if _digest(weights.values()) != fields["weights_sha256"]:
        raise TicketError("the weights drawn from its seed are not those that were saved: other rules drew them")
    for name, _, _ in list(selected_weights(network)):
        parametrize.remove_parametrizations(network.get_submodule(name), "weight", leave_parametrized=False)
    network.load_state_dict({**weights, **{name: torch.tensor(array) for name, array in kept.items()}})
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    return network.eval(), recipe


def _names_to_draw(kept: Arrays, plan: _Plan, converted: bool) -> list[str]:
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
    if drawn and not (converted or method_card(plan.recipe.method, plan.recipe.plugins).slot_phase):
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
    beside = {name: found for name in shapes if (found := selections[name].beside_choices()) is not None}
    scales = _scales(arrays, {name: tuple(found.shape) for name, found in beside.items()}, "its method")
    for name in beside:
        selections[name].take_beside_choices(torch.tensor(scales[name]))
    arrays = {name: array for name, array in arrays.items() if not name.startswith(SCALES)}
    choices = max((selections[name].choices for name in shapes), default=0)
    symbols = _symbols(arrays, shapes.values(), choices, [_free(selections[name]) for name in shapes])
    chosen = (torch.from_numpy(part.astype(np.int64)) for part in symbols)
    return {
        name: selections[name].chosen_weight(part.view(shape))
        for (name, shape), part in zip(shapes.items(), chosen, strict=True)
    }


def _put_together(recipe: Recipe, shapes: dict[str, tuple[int, ...]], arrays: Arrays) -> dict[str, Tensor]:
    """The converted weights of these names and shapes."""
    conversion = build_conversion(recipe)
    assert conversion is not None, "a ticket without one is refused"
    wanted = {name: shape for name in shapes if (shape := conversion.scales_shape(shapes[name])) != (0,)}
    scales = _scales(arrays, wanted, f"{recipe.conversion} weights")
    codes = {name: array for name, array in arrays.items() if not name.startswith(SCALES)}
    symbols = _symbols(codes, shapes.values(), conversion.codes)
    return {
        name: conversion.put_together(
            torch.from_numpy(part.astype(np.int64)).view(shape), torch.tensor(scales.get(name, np.empty(0, np.float32)))
        )
        for (name, shape), part in zip(shapes.items(), symbols, strict=True)
    }


def _scales(arrays: Arrays, wanted: dict[str, tuple[int, ...]], of: str) -> Arrays:
    """The scales by the names of their weights. Raises TicketError where they have other names, shapes or kinds."""
    scales = {name.removeprefix(SCALES): array for name, array in arrays.items() if name.startswith(SCALES)}
    found = {name: (array.shape, str(array.dtype)) for name, array in scales.items()}
    if found != {name: (shape, "float32") for name, shape in wanted.items()}:
        raise TicketError(f"its scales are not those of {of}, of these shapes in float32: {wanted}")
    return scales


def _symbols(
    arrays: Arrays, shapes: Iterable[tuple[int, ...]], choices: int, free: Free | None = None
) -> list[Symbols]:
    """The symbols of each layer as a matrix. Raises TicketError for arrays that hold none."""
    matrices = [(shape[0], math.prod(shape[1:])) for shape in shapes]
    try:
        if not matrices:
            if arrays:
                raise CodingError(f"nothing is to be chosen, and there is {', '.join(arrays)}")
            return []
        return read_symbols(arrays, matrices, choices, free)
    except CodingError as error:
        raise TicketError(f"its choices cannot be read: {error}") from None
