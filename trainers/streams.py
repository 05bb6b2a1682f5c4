"""Random numbers by counter: the n-th number of a stream is a function of (key, n), the same on every device.

SplitMix64 (Steele, Lea & Flood, 2014) is the function: it passes BigCrush, costs one hash a number, and needs no state,
so a number can be drawn again whenever it is wanted instead of being stored.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
HALF_BITS = 24  # a float32 holds every integer up to 2**24


def signed(word: int) -> int:
    """The int64 with the bits of an unsigned 64-bit word."""
    word &= (1 << 64) - 1
    return word - (1 << 64) if word >= 1 << 63 else word


def stream_key(seed: int, *labels: str | int) -> int:
    """A 64-bit key for the stream that these labels name; equal across processes, machines and versions."""
    text = json.dumps([seed, *labels], separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def torch_generator(device: torch.device | str, seed: int, *labels: str | int) -> torch.Generator:
    """A torch generator seeded by the labels, for what need not be the same across devices."""
    generator = torch.Generator(device=device)
    generator.manual_seed(stream_key(seed, *labels) & ((1 << 63) - 1))
    return generator


def mixed(word: Any) -> Any:
    """SplitMix64's mixing of 64-bit words, an int64 tensor or NumPy array; done in place."""
    word ^= (word >> 30) & ((1 << 34) - 1)  # int64 shifts copy the sign bit down: mask it off
    word *= signed(MIX_1)
    word ^= (word >> 27) & ((1 << 37) - 1)
    word *= signed(MIX_2)
    word ^= (word >> 31) & ((1 << 33) - 1)
    return word


def uniform(words: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """U(0, 1) from counters that a key was added to; never 0 and never 1: the middles of 2**24 equal steps."""
    odd: Tensor = (mixed(words) >> (63 - HALF_BITS)) | 1
    return (odd.double() * 2.0 ** -(HALF_BITS + 1) + 0.5).to(dtype)


@dataclass(frozen=True)
class RandomStream:
    """The numbers under one key. Counters are int64 tensors or NumPy arrays; results have their shape."""

    key: int

    def words(self, counters: Any) -> Any:
        """64 random bits per counter, as int64."""
        return mixed(counters * signed(GOLDEN) + signed(self.key))

    def pairs(self, counters: Any) -> tuple[Any, Any]:
        """Two independent integers a counter: an odd one in (-2**24, 2**24), and one in 0 .. 2**24 - 1."""
        words = self.words(counters)
        return (words >> (63 - HALF_BITS)) | 1, (words >> 8) & ((1 << HALF_BITS) - 1)

    def uniform(self, counters: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """U(0, 1), never 0 and never 1: the middles of 2**24 equal steps."""
        return uniform(counters * signed(GOLDEN) + signed(self.key), dtype)

    def normal(self, counters: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """N(0, 1) by the inverse of the normal distribution function, from 48 bits a number."""
        odd, low = self.pairs(counters)
        steps = ((odd >> 1) << HALF_BITS) + low
        probability = (2 * steps + 1).double() * 2.0 ** -(2 * HALF_BITS + 1) + 0.5
        number: Tensor = torch.special.ndtri(probability)
        return number.to(dtype)

    def signs(self, counters: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """-1 or +1, each with probability one half."""
        negative: Tensor = self.words(counters) < 0
        return negative.to(dtype).mul_(-2).add_(1)
