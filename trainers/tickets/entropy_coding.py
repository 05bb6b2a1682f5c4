"""Small integers as few bytes, exactly: packed at a fixed number of bits each, or entropy-coded.

The coder is rANS (Duda, 2013) with static frequencies per context. Many coders run side by side, one a column of a
table of about ROWS rows that the symbols fill row by row, so that NumPy codes a whole row at a time; they share one
stream of words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Symbols = NDArray[np.uint16]
ROWS = 2048  # fewer would be quicker, and each coder costs the 4 bytes of its state
PRECISION = 14  # frequencies add up to 2**PRECISION
TOTAL = 1 << PRECISION
LOWEST = 1 << 16  # a state is in LOWEST .. 2**32 - 1, and moves 16 bits at a time to and from the words
MOST_SYMBOLS = 4096  # an alphabet larger than this is only packed: its frequencies would be too coarse


class CodingError(ValueError):
    """The coded form is not one that the coder makes."""


def bits_each(alphabet: int) -> int:
    """ceil(log2(alphabet)): the bits of one packed symbol."""
    return (alphabet - 1).bit_length()


def packed_bytes(count: int, alphabet: int) -> int:
    """The size of `count` packed symbols."""
    return bits_each(alphabet) * -(-count // 8)


def pack(symbols: Symbols, alphabet: int) -> NDArray[np.uint8]:
    """The symbols, each below `alphabet`, bit by bit: first the lowest bits of all of them, last the highest."""
    planes = [np.packbits((symbols >> bit & 1).astype(bool)) for bit in range(bits_each(alphabet))]
    return np.concatenate([np.empty(0, np.uint8), *planes])


def unpack(packed: NDArray[np.uint8], count: int, alphabet: int) -> Symbols:
    """The `count` symbols that were packed. Raises CodingError for what `pack` does not make."""
    bits = bits_each(alphabet)
    wanted = (packed_bytes(count, alphabet),)
    if packed.dtype != np.uint8 or packed.shape != wanted:
        raise CodingError(f"{count} symbols of {bits} bits are uint8 {wanted}, not {packed.dtype} {packed.shape}")
    symbols = np.zeros(count, np.uint16)
    for bit, plane in enumerate(np.split(packed, bits) if bits else ()):
        symbols |= np.unpackbits(plane)[:count].astype(np.uint16) << bit
    if count and int(symbols.max()) >= alphabet:
        raise CodingError(f"a symbol is {symbols.max()}, and the highest is {alphabet - 1}")
    return symbols


@dataclass(frozen=True)
class Coded:
    """Entropy-coded symbols of several contexts."""

    frequencies: NDArray[np.uint16]  # (contexts, alphabet); a row adds up to TOTAL
    states: NDArray[np.uint32]  # of the coders once all is coded, which is where decoding begins
    words: NDArray[np.uint16]  # in the order in which decoding wants them

    @property
    def nbytes(self) -> int:
        return self.frequencies.nbytes + self.states.nbytes + self.words.nbytes


def encode(parts: list[Symbols], alphabet: int) -> Coded:
    """The symbols, each below `alphabet`; every part is a context, with frequencies of its own."""
    frequencies = np.stack([_frequencies(part, alphabet) for part in parts])
    contexts = _table_of_contexts([len(part) for part in parts])
    symbols = np.zeros(contexts.shape, np.uint16)
    symbols.reshape(-1)[: sum(map(len, parts))] = np.concatenate(parts)
    symbols.reshape(-1)[sum(map(len, parts)) :] = parts[-1][-1:]  # the last row is filled up with the last one
    table = contexts * alphabet + symbols
    widths, starts = _widths_and_starts(frequencies)
    states = np.full(table.shape[1], LOWEST, np.uint64)
    written = []
    for index in table[::-1]:
        width = widths[index]
        full = states >= width << np.uint64(32 - PRECISION)
        written.append(states[full].astype(np.uint16))  # the low 16 bits
        states[full] >>= np.uint64(16)
        quotient = states // width
        states += quotient * (np.uint64(TOTAL) - width) + starts[index]  # = quotient·TOTAL + remainder + start
    words = np.concatenate([np.empty(0, np.uint16), *reversed(written)])
    return Coded(frequencies.astype(np.uint16), states.astype(np.uint32), words)


def decode(coded: Coded, sizes: list[int], alphabet: int) -> list[Symbols]:
    """The parts, of these sizes, that were encoded. Raises CodingError for what `encode` does not make."""
    contexts = _table_of_contexts(sizes)
    _check(coded, contexts.shape[1], len(sizes), alphabet)
    frequencies, words = coded.frequencies.astype(np.int64), coded.words.astype(np.uint64)
    widths, starts = _widths_and_starts(frequencies)
    # Which symbol each of a context's TOTAL slots belongs to.
    symbol_at = np.stack([np.repeat(np.arange(alphabet, dtype=np.uint16), row) for row in frequencies]).reshape(-1)
    states = coded.states.astype(np.uint64)
    symbols = np.empty(contexts.shape, np.uint16)
    taken = 0
    for row, context in enumerate(contexts):
        slot = states & np.uint64(TOTAL - 1)
        symbols[row] = symbol_at[context * TOTAL + slot.astype(np.int64)]
        index = context * alphabet + symbols[row]
        states = widths[index] * (states >> np.uint64(PRECISION)) + slot - starts[index]
        low = np.flatnonzero(states < LOWEST)
        if taken + len(low) > len(words):
            raise CodingError("the words end before the symbols do")
        states[low] = states[low] << np.uint64(16) | words[taken : taken + len(low)]
        taken += len(low)
    if taken != len(words) or (states != LOWEST).any():
        raise CodingError("the coders do not end where they began")
    return np.split(symbols.reshape(-1)[: sum(sizes)], np.cumsum(sizes)[:-1])


def _table_of_contexts(sizes: list[int]) -> NDArray[np.int32]:
    """The part that each symbol is of, in rows, a column a coder; what fills the last row up is of the last part."""
    columns = -(-sum(sizes) // ROWS)
    room = -sum(sizes) % columns
    parts = np.arange(len(sizes), dtype=np.int32)
    return np.repeat(parts, [*sizes[:-1], sizes[-1] + room]).reshape(-1, columns)


def _frequencies(symbols: Symbols, alphabet: int) -> NDArray[np.int64]:
    """Whole numbers that add up to TOTAL, about in proportion, and at least 1 for every symbol that occurs."""
    counts = np.bincount(symbols, minlength=alphabet)
    frequencies = counts * (TOTAL - np.count_nonzero(counts)) // max(1, len(symbols)) + (counts > 0)
    frequencies[counts.argmax()] += TOTAL - frequencies.sum()
    return frequencies


def _widths_and_starts(frequencies: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """For context·alphabet + symbol: its frequency, and the sum of those before it in its context."""
    starts = np.cumsum(frequencies, axis=1) - frequencies
    return frequencies.reshape(-1).astype(np.uint64), starts.reshape(-1).astype(np.uint64)


def _check(coded: Coded, coders: int, contexts: int, alphabet: int) -> None:
    found = [(str(array.dtype), array.shape) for array in (coded.frequencies, coded.states, coded.words)]
    wanted = [("uint16", (contexts, alphabet)), ("uint32", (coders,)), ("uint16", (coded.words.size,))]
    if found != wanted:
        raise CodingError(f"frequencies, states and words are {found}, not {wanted}")
    if (coded.frequencies.sum(axis=1, dtype=np.int64) != TOTAL).any():
        raise CodingError(f"the frequencies of a context do not add up to {TOTAL}")
    if (coded.states < LOWEST).any():
        raise CodingError(f"a coder's state is below {LOWEST}")
