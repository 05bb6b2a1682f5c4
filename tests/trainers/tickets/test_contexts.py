"""Symbols as arrays: they come back, in as few bytes as the smallest way takes; other arrays are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.tickets.contexts import CODED, GROUPS, PACKED, POSITIONS, position_groups, read_symbols, symbol_arrays
from trainers.tickets.entropy_coding import CodingError, encode, packed_bytes


def by_input(outputs: int, inputs: int, alphabet: int) -> np.ndarray:
    """Symbols that hang on the input: mostly 0 for the first ones, anything for the last."""
    generator = np.random.default_rng(0)
    busy = generator.random((outputs, inputs)) < np.linspace(0, 1, inputs) ** 4
    return np.where(busy, generator.integers(0, alphabet, (outputs, inputs)), 0).astype(np.uint16)


def nbytes(arrays: dict[str, np.ndarray]) -> int:
    return sum(array.nbytes for array in arrays.values())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 60)), min_size=1, max_size=3),
    st.sampled_from([1, 2, 3, 8, 300, 65536]),
    st.floats(0, 1),
    st.integers(0, 2**32 - 1),
)
def test_symbols_come_back_whatever_they_are(shapes, alphabet, share, seed):
    generator = np.random.default_rng(seed)
    layers = [
        np.where(generator.random(shape) < share, generator.integers(0, alphabet, shape), 0).astype(np.uint16)
        for shape in shapes
    ]
    arrays = symbol_arrays(layers, alphabet)
    found = read_symbols(arrays, shapes, alphabet)
    assert all(np.array_equal(one, other) for one, other in zip(found, layers, strict=True))
    if alphabet > 1:
        assert nbytes(arrays) <= packed_bytes(sum(layer.size for layer in layers), alphabet)


def test_where_symbols_hang_on_the_input_its_groups_are_contexts_and_save_bytes():
    layers = [by_input(300, 784, 8), by_input(100, 300, 8)]
    arrays = symbol_arrays(layers, 8)
    assert set(arrays) == {*CODED, POSITIONS}
    by_layer = encode([layer.reshape(-1) for layer in layers], 8).nbytes
    assert nbytes(arrays) < 0.85 * by_layer
    found = read_symbols(arrays, [layer.shape for layer in layers], 8)
    assert all(np.array_equal(one, other) for one, other in zip(found, layers, strict=True))


def test_where_they_do_not_the_layer_is_the_context():
    symbols = (np.random.default_rng(0).random((300, 200)) < 0.1).astype(np.uint16)
    assert set(symbol_arrays([symbols], 2)) == {*CODED}


def test_symbols_without_a_pattern_are_packed():
    symbols = np.random.default_rng(0).integers(0, 8, (300, 200)).astype(np.uint16)
    assert set(symbol_arrays([symbols], 8)) == {PACKED}


def test_a_large_alphabet_is_coded_as_two_halves():
    generator = np.random.default_rng(0)
    symbols = (generator.integers(0, 6, (200, 300)) * 256 + generator.integers(0, 256, (200, 300))).astype(np.uint16)
    arrays = symbol_arrays([symbols], 65536)
    assert set(arrays) == {*CODED}
    assert nbytes(arrays) == pytest.approx(symbols.size * (np.log2(6) + 8) / 8, rel=0.05)


@pytest.mark.parametrize("groups", GROUPS)
def test_groups_of_inputs_are_of_about_equal_size_and_in_order(groups):
    layer = by_input(300, 784, 4)
    labels = position_groups(layer, 4, groups)
    assert np.ptp(np.bincount(labels, minlength=groups)) <= 1
    shares = [float((layer[:, labels == group] == 0).mean()) for group in range(groups)]
    assert shares == sorted(shares)


def broken(change) -> dict[str, np.ndarray]:
    arrays = symbol_arrays([by_input(300, 784, 8)], 8)
    return {**arrays, **change(arrays)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: {POSITIONS: arrays[POSITIONS][:-1]}, "784 symbols of"),
        (lambda arrays: {CODED[0]: arrays[CODED[0]][:3]}, "inputs fall into 3 groups, which is not 4 or 16"),
        (lambda arrays: {CODED[0]: arrays[CODED[0]].reshape(-1)[0]}, "inputs fall into 0 groups"),
        (lambda arrays: {CODED[2]: arrays[CODED[2]][:-1]}, "the words end before the symbols do"),
        (lambda arrays: {"more": arrays[POSITIONS]}, "choices are packed or coded.frequencies"),
    ],
)
def test_arrays_that_it_does_not_make_are_refused(change, message):
    with pytest.raises(CodingError, match=message):
        read_symbols(broken(change), [(300, 784)], 8)


@pytest.mark.parametrize("alphabet", [2, 8, 65536])
def test_symbols_that_the_reader_knows_are_not_stored(alphabet):
    generator = np.random.default_rng(1)
    whole = [by_input(300, 784, alphabet), by_input(20, 300, alphabet)]
    free = [generator.random(whole[0].shape) < 0.3, None]
    layers = [np.where(free[0], whole[0], 0).astype(np.uint16), whole[1]]
    arrays = symbol_arrays(layers, alphabet, free)
    found = read_symbols(arrays, [layer.shape for layer in layers], alphabet, free)
    assert all(np.array_equal(one, other) for one, other in zip(layers, found, strict=True))
    assert (POSITIONS in arrays) is (alphabet < 65536)
    assert nbytes(arrays) < 0.6 * nbytes(symbol_arrays(whole, alphabet))
