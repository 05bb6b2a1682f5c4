"""Symbols packed and entropy-coded: exact, as small as promised, and refused where they make no sense."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.tickets.entropy_coding import (
    LOWEST,
    TOTAL,
    Coded,
    CodingError,
    decode,
    encode,
    pack,
    packed_bytes,
    unpack,
)

ALPHABETS = st.sampled_from([1, 2, 3, 8, 64, 300, 4096])


def skewed(count: int, alphabet: int, chance: float, seed: int = 0) -> np.ndarray:
    """Symbols that are rarer the higher they are."""
    drawn = np.random.default_rng(seed).geometric(chance, count) - 1
    return np.minimum(drawn, alphabet - 1).astype(np.uint16)


def entropy_bits(symbols: np.ndarray) -> float:
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-(counts * np.log2(counts / len(symbols))).sum())


@settings(max_examples=30)
@given(st.data(), ALPHABETS, st.lists(st.integers(1, 5000), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_symbols_come_back_exactly(data, alphabet, sizes, seed):
    chance = data.draw(st.floats(1e-3, 1))
    parts = [skewed(size, alphabet, chance, seed + number) for number, size in enumerate(sizes)]
    decoded = decode(encode(parts, alphabet), sizes, alphabet)
    assert all(np.array_equal(a, b) for a, b in zip(parts, decoded, strict=True))
    together = np.concatenate(parts)
    packed = pack(together, alphabet)
    assert len(packed) == packed_bytes(len(together), alphabet)
    assert np.array_equal(unpack(packed, len(together), alphabet), together)


@pytest.mark.parametrize(("alphabet", "bits"), [(1, 0), (2, 1), (3, 2), (8, 3), (9, 4), (65536, 16)])
def test_packing_takes_the_logarithm_rounded_up(alphabet, bits):
    assert packed_bytes(8000, alphabet) == 1000 * bits
    highest = np.full(3, alphabet - 1, np.uint16)
    assert np.array_equal(unpack(pack(highest, alphabet), 3, alphabet), highest)


@pytest.mark.parametrize("chance", [0.9, 0.5, 0.2])
def test_coding_comes_within_two_percent_of_the_entropy_and_the_coders_states(chance):
    parts = [skewed(200_000, 8, chance), skewed(100_000, 8, chance / 2)]
    bound = sum(map(entropy_bits, parts)) / 8
    coded = encode(parts, 8)
    assert bound < coded.nbytes < 1.02 * bound + coded.states.nbytes + coded.frequencies.nbytes
    assert coded.states.nbytes <= 4 * math.ceil(300_000 / 2048)


def test_each_part_has_frequencies_of_its_own():
    zeros, ones = np.zeros(50_000, np.uint16), np.ones(50_000, np.uint16)
    apart, mixed = encode([zeros, ones], 2), encode([np.concatenate([zeros, ones])], 2)
    assert apart.words.nbytes < 0.01 * mixed.words.nbytes


def test_a_rare_symbol_among_many_others_is_coded_too():
    symbols = np.zeros(100_000, np.uint16)
    symbols[77_777] = 3
    assert np.array_equal(decode(encode([symbols], 4), [100_000], 4)[0], symbols)


PARTS = [skewed(5000, 8, 0.5), skewed(300, 8, 0.3)]
SIZES = [5000, 300]
GOOD = encode(PARTS, 8)


def altered(array: np.ndarray, index: int, value: int) -> np.ndarray:
    changed = array.copy()
    changed.reshape(-1)[index] = value
    return changed


@pytest.mark.parametrize(
    ("coded", "complaint"),
    [
        (replace(GOOD, words=GOOD.words[:-1]), "words end before"),
        (replace(GOOD, words=np.append(GOOD.words, GOOD.words[:1])), "do not end where they began"),
        (replace(GOOD, words=GOOD.words.astype(np.uint32)), "not .*uint16"),
        (replace(GOOD, words=GOOD.words[None]), "frequencies, states and words are"),
        (replace(GOOD, states=GOOD.states[:-1]), "frequencies, states and words are"),
        (replace(GOOD, states=altered(GOOD.states, 0, LOWEST - 1)), "state is below"),
        (replace(GOOD, states=altered(GOOD.states, 0, int(GOOD.states[0]) ^ 1)), "words end|do not end"),
        (replace(GOOD, frequencies=GOOD.frequencies[:1]), "frequencies, states and words are"),
        (replace(GOOD, frequencies=altered(GOOD.frequencies, 0, TOTAL)), "do not add up"),
    ],
)
def test_what_the_coder_does_not_make_is_refused(coded: Coded, complaint):
    with pytest.raises(CodingError, match=complaint):
        decode(coded, SIZES, 8)


@pytest.mark.parametrize(
    ("packed", "alphabet", "complaint"),
    [
        (np.zeros(4, np.uint8), 8, "9 symbols of 3 bits"),
        (np.zeros(6, np.uint16), 8, "not uint16"),
        (np.zeros((6, 1), np.uint8), 8, "9 symbols of 3 bits"),
        (np.full(6, 255, np.uint8), 5, "a symbol is 7, and the highest is 4"),
    ],
)
def test_what_packing_does_not_make_is_refused(packed, alphabet, complaint):
    with pytest.raises(CodingError, match=complaint):
        unpack(packed, 9, alphabet)
