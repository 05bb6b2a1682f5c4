"""The K fixed options of every connection of one layer: their values and initial scores.

Options are never stored: `LayerOptions.lines` draws those of the connections it is asked for, again and again the same.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainers.kernels.native import OptionsStruct
from trainers.streams import HALF_BITS, RandomStream, stream_key

OPTION_BITS = 16  # a connection's options have consecutive counters; K is at most 2**16
STEPS = 1 << HALF_BITS

FloatArray = NDArray[np.floating[Any]]


class Options(Protocol):
    """What selection needs to know of a layer's options; connections are indices into the flattened weight."""

    @property
    def count(self) -> int:
        """K."""
        ...

    @property
    def connections(self) -> int: ...

    @property
    def value_bound(self) -> float:
        """What no |value| exceeds."""
        ...

    def native(self) -> tuple[OptionsStruct, Any] | None:
        """These options as selection.c takes them, with what must live as long; None if it cannot."""
        ...

    def lines(self, connections: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Values and initial scores of these connections, each (n, K) or, where all share their values, (1, K)."""
        ...

    def line(self, option: int, device: torch.device, first: int = 0, last: int | None = None) -> tuple[Tensor, Tensor]:
        """Value and initial score of one option for the connections first..last, each (n,) or (1,) where shared."""
        ...


@dataclass(frozen=True)
class LayerOptions:
    """Drawn options: values U(-value_bound, value_bound), initial scores U(0, score_range).

    values_key is the layer's own key where nothing is shared (`shared` False); else it is the key that the K values are
    drawn under, once for all connections.

    With a layout the K values w_1, …, w_K hang together. `centred`: their mean is taken off. `antithetic`: w_2 = -w_1,
    w_4 = -w_3 and so on. `stratified`: w_k is uniform in the k-th of K equal parts of the range.
    """

    count: int
    connections: int
    value_bound: float
    score_range: float
    scores_key: int
    values_key: int
    shared: bool
    dtype: torch.dtype = torch.float32
    layout: str | None = None  # of the K values; None: independent ones
    # What the odd numbers in (-2**24, 2**24) are multiplied with to make values, and those in 0 .. 2**24 - 1 to make
    # initial scores; rounded to the layer's type once, so that all that draw them draw the same.
    value_step: float = field(init=False)
    score_step: float = field(init=False)
    _shared_on: dict[torch.device, Tensor] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "value_step", _rounded(self.value_bound / STEPS, self.dtype))
        object.__setattr__(self, "score_step", _rounded(self.score_range / STEPS, self.dtype))

    @property
    def drawn_alike(self) -> bool:
        """Whether a value is drawn by itself, or with all others before: as the compiled kernels take them."""
        return self.shared or self.layout is None

    def shared_values(self, device: torch.device | str = "cpu") -> Tensor:
        """The K values that all connections share, copied to each device once. Only where they do."""
        assert self.shared
        device = torch.device(device)
        if device not in self._shared_on:
            self._shared_on[device] = torch.from_numpy(self.lines(np.zeros(1, dtype=np.int64))[0][0]).to(device)
        return self._shared_on[device]

    def native(self) -> tuple[OptionsStruct, Any] | None:
        """These options as selection.c takes them, with what must live as long; None if it cannot draw them."""
        if self.dtype != torch.float32 or not self.drawn_alike:
            return None
        shared = self.shared_values().contiguous().numpy() if self.shared else None
        address = shared.ctypes.data_as(ctypes.c_void_p) if shared is not None else None
        key = self.scores_key & ((1 << 64) - 1)
        return OptionsStruct(self.count, key, self.value_step, self.score_step, address), shared

    def lines(self, connections: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        kind: Any = np.float64 if self.dtype == torch.float64 else np.float32
        options = np.arange(self.count, dtype=np.int64)
        rows = connections[:, None] << OPTION_BITS
        odd, low = RandomStream(self.scores_key).pairs(rows + options)
        if self.shared or self.layout is not None:
            rows = np.zeros((1, 1), dtype=np.int64) if self.shared else rows
            odd, _ = RandomStream(self.values_key).pairs(rows + self._source(options))
        values = self._laid_out(odd.astype(kind), options.astype(kind), kind)
        return values, low.astype(kind) * kind(self.score_step)

    def line(self, option: int, device: torch.device, first: int = 0, last: int | None = None) -> tuple[Tensor, Tensor]:
        last = self.connections if last is None else last
        counters = torch.arange(first, last, device=device, dtype=torch.int64) << OPTION_BITS
        odd, low = RandomStream(self.scores_key).pairs(counters + option)
        scores = low.to(self.dtype) * self.score_step
        if self.shared and self.layout is not None:
            return self.shared_values(device)[option : option + 1], scores
        if self.shared or self.layout is not None:
            counters = torch.zeros(1, device=device, dtype=torch.int64) if self.shared else counters
            odd, _ = RandomStream(self.values_key).pairs(counters + self._source(option))
        return self._laid_out(odd.to(self.dtype), option, float), scores

    def _source(self, option: Any) -> Any:
        """Which draw an option's value is made of: the first of its pair, if the layout is of pairs."""
        return option & ~1 if self.layout == "antithetic" else option

    def _laid_out(self, odd: Any, option: Any, kind: Any) -> Any:
        """Values from odd numbers in (-2**24, 2**24), by their options; numpy's, `kind` their type, or torch's."""
        if self.layout == "stratified":
            middle = 2 * option + 1 - self.count
            return (odd * kind(1 / STEPS) + middle) * kind(_rounded(self.value_bound / self.count, self.dtype))
        values = odd * kind(self.value_step)
        if self.layout == "antithetic":
            return values * (1 - 2 * (option % 2))
        if self.layout == "centred":
            return values - values.mean(axis=1, keepdims=True)
        return values


def _rounded(number: float, dtype: torch.dtype) -> float:
    return torch.tensor(number, dtype=dtype).item()


def check_order(*tensors: Tensor) -> None:
    """Raises ValueError where a layer's numbers do not lie in the order that its connections are numbered in."""
    if not all(tensor.is_contiguous() for tensor in tensors):
        raise ValueError("B: must be contiguous, as connections are numbered in that order (not channels_last)")


def fans(weight: Tensor) -> tuple[int, int]:
    """Fan-in and fan-out of a weight (out, in / groups, *kernel)."""
    receptive = math.prod(weight.shape[2:])
    return weight.shape[1] * receptive, weight.shape[0] * receptive


def glorot_bound(weight: Tensor, kind: str) -> float:
    """b of U(-b, b): `glorot_uniform` sqrt(6/(fan_in+fan_out)); `glorot_normal`, as the paper words it, sqrt(2/(…))."""
    fan_in, fan_out = fans(weight)
    return math.sqrt({"glorot_uniform": 6.0, "glorot_normal": 2.0}[kind] / (fan_in + fan_out))


def values_of_the_network(seed: int, count: int) -> NDArray[np.float64]:
    """The K values that all layers share under `sharing: network`, in units of each layer's bound: K of U(-1, 1)."""
    odd, _ = RandomStream(_network_key(seed)).pairs(np.arange(count, dtype=np.int64))
    return np.asarray(odd / STEPS)


def _network_key(seed: int) -> int:
    return stream_key(seed, "shared values of the network")


def draw_options(
    layer: nn.Module,
    name: str,
    *,
    seed: int,
    count: int,
    sharing: str,
    value_bound: str,
    score_ranges: tuple[float, float],
    layout: str | None = None,
) -> LayerOptions:
    """The options of one layer. `name`: its path in the network; score_ranges: of convolutions, of linear layers."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    bound = glorot_bound(weight, value_bound)
    relative_range = score_ranges[1] if isinstance(layer, nn.Linear) else score_ranges[0]
    own = stream_key(seed, "options", name)
    values = {
        "none": own,
        "layer": stream_key(seed, "shared values", name),
        "network": _network_key(seed),
    }[sharing]
    return LayerOptions(
        count=count,
        connections=weight.numel(),
        value_bound=bound,
        score_range=relative_range * bound,
        scores_key=own,
        values_key=values,
        shared=sharing != "none",
        dtype=weight.dtype,
        layout=layout,
    )
