"""Symbols of a network's layers as entropy-coded arrays: what is coded with which frequencies.

A layer is a context: its symbols have frequencies of their own. Where that takes fewer bytes, the inputs of each layer
fall into a few groups, each of which is a context: on the rim of an image connections choose otherwise than in its
middle. The groups are stored, a few bits an input.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainers.tickets.entropy_coding import (
    MOST_SYMBOLS,
    Coded,
    CodingError,
    Symbols,
    decode,
    encode,
    pack,
    packed_bytes,
    unpack,
)

Arrays = dict[str, NDArray[Any]]
PACKED, CODED, POSITIONS = "packed", ("coded.frequencies", "coded.states", "coded.words"), "coded.positions"
GROUPS = (4, 16)  # of a layer's inputs
HALF = 256  # a symbol of a larger alphabet than MOST_SYMBOLS is coded as two of these


def symbol_arrays(layers: list[Symbols], alphabet: int) -> Arrays:
    """The arrays that these symbols, each below `alphabet`, are stored as: coded, or packed where that is smaller.

    layers: a matrix (outputs, inputs) of each; there is at least one.
    """
    flat = [layer.reshape(-1) for layer in layers]
    packed = packed_bytes(sum(map(len, flat)), alphabet)
    if alphabet > MOST_SYMBOLS:
        halves = [half for layer in flat for half in (layer // HALF, layer % HALF)]
        return _smaller({}, encode(halves, HALF), packed) or {PACKED: pack(np.concatenate(flat), alphabet)}
    sizes = {1: _bits(flat, alphabet)}
    grouped = {groups: [position_groups(layer, alphabet, groups) for layer in layers] for groups in GROUPS}
    for groups, labels in grouped.items():
        stored = 8 * packed_bytes(sum(map(len, labels)), groups)
        sizes[groups] = stored + _bits(_parts(layers, labels, groups), alphabet)
    groups = min(sizes, key=lambda count: (sizes[count], count))
    found: Arrays = {}
    if groups == 1:
        parts = flat
    else:
        found[POSITIONS] = pack(np.concatenate(grouped[groups]), groups)
        parts = _parts(layers, grouped[groups], groups)
    coded = encode(parts, alphabet)
    if alphabet == 1:  # packed there would be nothing at all
        return _arrays(found, coded)
    return _smaller(found, coded, packed) or {PACKED: pack(np.concatenate(flat), alphabet)}


def read_symbols(arrays: Arrays, shapes: list[tuple[int, int]], alphabet: int) -> list[Symbols]:
    """What `symbol_arrays` made arrays of, each of its shape. Raises CodingError for other arrays."""
    sizes = [prod(shape) for shape in shapes]
    if set(arrays) == {PACKED}:
        parts = np.split(unpack(arrays[PACKED], sum(sizes), alphabet), np.cumsum(sizes)[:-1])
        return _shaped(parts, shapes)
    if not {*CODED} <= set(arrays) <= {*CODED, POSITIONS}:
        raise CodingError(f"choices are {PACKED} or {', '.join(CODED)}, not {', '.join(sorted(arrays)) or 'missing'}")
    coded = Coded(*(arrays[name] for name in CODED))
    if POSITIONS in arrays:
        return _read_grouped(coded, arrays[POSITIONS], shapes, alphabet)
    if alphabet > MOST_SYMBOLS:
        halves = decode(coded, [size for size in sizes for _ in range(2)], HALF)
        return _shaped([high * HALF + low for high, low in zip(halves[::2], halves[1::2], strict=True)], shapes)
    return _shaped(decode(coded, sizes, alphabet), shapes)


def position_groups(layer: Symbols, alphabet: int, groups: int) -> Symbols:
    """The group of each of a layer's inputs, (inputs,): ordered by how often the layer's commonest symbol is theirs,
    they are cut into `groups` of about equal size."""
    commonest = np.bincount(layer.reshape(-1), minlength=alphabet).argmax()
    order = np.argsort((layer == commonest).sum(0), kind="stable")
    labels = np.empty(len(order), np.uint16)
    labels[order] = np.arange(len(order)) * groups // len(order)
    return labels


def _read_grouped(coded: Coded, positions: NDArray[Any], shapes: list[tuple[int, int]], alphabet: int) -> list[Symbols]:
    groups = coded.frequencies.shape[0] // len(shapes) if coded.frequencies.ndim else 0
    if groups not in GROUPS or alphabet > MOST_SYMBOLS:
        raise CodingError(f"inputs fall into {groups} groups, which is not {' or '.join(map(str, GROUPS))}")
    inputs = [shape[1] for shape in shapes]
    labels = np.split(unpack(positions, sum(inputs), groups), np.cumsum(inputs)[:-1])
    counts = [np.bincount(label, minlength=groups) for label in labels]
    sizes = [int(shape[0] * count) for shape, found in zip(shapes, counts, strict=True) for count in found]
    parts = decode(coded, sizes, alphabet)
    layers = [np.empty(shape, np.uint16) for shape in shapes]
    for number, (layer, label) in enumerate(zip(layers, labels, strict=True)):
        for group in range(groups):
            layer[:, label == group] = parts[number * groups + group].reshape(len(layer), -1)
    return layers


def _parts(layers: list[Symbols], labels: list[Symbols], groups: int) -> list[Symbols]:
    """The symbols of each group of each layer, in that order, some of which may be empty."""
    return [
        layer[:, label == group].reshape(-1)
        for layer, label in zip(layers, labels, strict=True)
        for group in range(groups)
    ]


def _bits(parts: list[Symbols], alphabet: int) -> float:
    """About what these contexts take: entropy and frequencies."""
    total = 16.0 * len(parts) * alphabet
    for part in parts:
        counts = np.bincount(part, minlength=alphabet)
        seen = counts[counts > 0]
        total -= float((seen * np.log2(seen / max(1, len(part)))).sum())
    return total


def _smaller(found: Arrays, coded: Coded, packed: int) -> Arrays | None:
    arrays = _arrays(found, coded)
    return arrays if sum(array.nbytes for array in arrays.values()) < packed else None


def _arrays(found: Arrays, coded: Coded) -> Arrays:
    return {**found, **dict(zip(CODED, (coded.frequencies, coded.states, coded.words), strict=True))}


def _shaped(parts: list[Symbols], shapes: list[tuple[int, int]]) -> list[Symbols]:
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
