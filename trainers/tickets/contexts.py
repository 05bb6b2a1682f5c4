"""Symbols of a network's layers as entropy-coded arrays: what is coded with which frequencies.

A layer is a context: its symbols have frequencies of their own. Where that takes fewer bytes, the inputs of each layer
fall into a few groups, each of which is a context: on the rim of an image connections choose otherwise than in its
middle. The groups are stored, a few bits an input. Symbols that the reader knows already are left out.
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
Free = list[NDArray[np.bool_] | None]  # of each layer which symbols are coded, of its shape; None: all
GROUPS = (4, 16)  # of a layer's inputs
HALF = 256  # a symbol of a larger alphabet than MOST_SYMBOLS is coded as two of these


def symbol_arrays(layers: list[Symbols], alphabet: int, free: Free | None = None) -> Arrays:
    """The arrays that these symbols, each below `alphabet`, are stored as: coded, or packed where that is smaller.

    layers: a matrix (outputs, inputs) of each; there is at least one.
    """
    free = free or [None] * len(layers)
    flat = [_taken(layer, mask) for layer, mask in zip(layers, free, strict=True)]
    packed = packed_bytes(sum(map(len, flat)), alphabet)
    if alphabet > MOST_SYMBOLS:
        halves = [half for layer in flat for half in (layer // HALF, layer % HALF)]
        return _smaller({}, encode(halves, HALF), packed) or {PACKED: pack(np.concatenate(flat), alphabet)}
    sizes = {1: _bits(flat, alphabet)}
    grouped = {
        groups: [position_groups(layer, alphabet, groups, mask) for layer, mask in zip(layers, free, strict=True)]
        for groups in GROUPS
    }
    for groups, labels in grouped.items():
        stored = 8 * packed_bytes(sum(map(len, labels)), groups)
        sizes[groups] = stored + _bits(_parts(layers, labels, groups, free), alphabet)
    groups = min(sizes, key=lambda count: (sizes[count], count))
    found: Arrays = {}
    if groups == 1:
        parts = flat
    else:
        found[POSITIONS] = pack(np.concatenate(grouped[groups]), groups)
        parts = _parts(layers, grouped[groups], groups, free)
    coded = encode(parts, alphabet)
    if alphabet == 1:  # packed there would be nothing at all
        return _arrays(found, coded)
    return _smaller(found, coded, packed) or {PACKED: pack(np.concatenate(flat), alphabet)}


def read_symbols(
    arrays: Arrays, shapes: list[tuple[int, int]], alphabet: int, free: Free | None = None
) -> list[Symbols]:
    """What `symbol_arrays` made arrays of, each of its shape, and 0 where nothing was coded.

    Raises CodingError for other arrays.
    """
    free = free or [None] * len(shapes)
    sizes = [prod(shape) if mask is None else int(mask.sum()) for shape, mask in zip(shapes, free, strict=True)]
    if set(arrays) == {PACKED}:
        parts = np.split(unpack(arrays[PACKED], sum(sizes), alphabet), np.cumsum(sizes)[:-1])
        return _shaped(parts, shapes, free)
    if not {*CODED} <= set(arrays) <= {*CODED, POSITIONS}:
        raise CodingError(f"choices are {PACKED} or {', '.join(CODED)}, not {', '.join(sorted(arrays)) or 'missing'}")
    coded = Coded(*(arrays[name] for name in CODED))
    if POSITIONS in arrays:
        return _read_grouped(coded, arrays[POSITIONS], shapes, alphabet, free)
    if alphabet > MOST_SYMBOLS:
        halves = decode(coded, [size for size in sizes for _ in range(2)], HALF)
        return _shaped([high * HALF + low for high, low in zip(halves[::2], halves[1::2], strict=True)], shapes, free)
    return _shaped(decode(coded, sizes, alphabet), shapes, free)


def position_groups(layer: Symbols, alphabet: int, groups: int, mask: NDArray[np.bool_] | None = None) -> Symbols:
    """The group of each of a layer's inputs, (inputs,): ordered by how often the layer's commonest symbol is theirs,
    they are cut into `groups` of about equal size. Counted is where the mask is true."""
    commonest = np.bincount(_taken(layer, mask), minlength=alphabet).argmax()
    found = layer == commonest
    order = np.argsort((found if mask is None else found & mask).sum(0), kind="stable")
    labels = np.empty(len(order), np.uint16)
    labels[order] = np.arange(len(order)) * groups // len(order)
    return labels


def _read_grouped(
    coded: Coded, positions: NDArray[Any], shapes: list[tuple[int, int]], alphabet: int, free: Free
) -> list[Symbols]:
    groups = coded.frequencies.shape[0] // len(shapes) if coded.frequencies.ndim else 0
    if groups not in GROUPS or alphabet > MOST_SYMBOLS:
        raise CodingError(f"inputs fall into {groups} groups, which is not {' or '.join(map(str, GROUPS))}")
    inputs = [shape[1] for shape in shapes]
    labels = np.split(unpack(positions, sum(inputs), groups), np.cumsum(inputs)[:-1])
    blocks = [  # shape and mask of each group of each layer
        ((shape[0], int((label == group).sum())), None if mask is None else mask[:, label == group])
        for shape, label, mask in zip(shapes, labels, free, strict=True)
        for group in range(groups)
    ]
    sizes = [prod(shape) if mask is None else int(mask.sum()) for shape, mask in blocks]
    parts = _shaped(decode(coded, sizes, alphabet), [shape for shape, _ in blocks], [mask for _, mask in blocks])
    layers = [np.empty(shape, np.uint16) for shape in shapes]
    for number, (layer, label) in enumerate(zip(layers, labels, strict=True)):
        for group in range(groups):
            layer[:, label == group] = parts[number * groups + group]
    return layers


def _parts(layers: list[Symbols], labels: list[Symbols], groups: int, free: Free) -> list[Symbols]:
    """The symbols of each group of each layer, in that order, some of which may be empty."""
    return [
        _taken(layer[:, label == group], None if mask is None else mask[:, label == group])
        for layer, label, mask in zip(layers, labels, free, strict=True)
        for group in range(groups)
    ]


def _taken(layer: Symbols, mask: NDArray[np.bool_] | None) -> Symbols:
    """The symbols that are coded, in a row."""
    return layer.reshape(-1) if mask is None else layer[mask]


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


def _shaped(parts: list[Symbols], shapes: list[tuple[int, int]], free: Free) -> list[Symbols]:
    found = []
    for part, shape, mask in zip(parts, shapes, free, strict=True):
        if mask is None:
            found.append(part.reshape(shape))
        else:
            found.append(np.zeros(shape, np.uint16))
            found[-1][mask] = part
    return found
