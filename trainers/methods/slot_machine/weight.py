"""Slot machines: K fixed random values a connection, and learning which one to use (Aladago & Torresani, ICML 2021).

The paper learns a score per option; by its straight-through estimator (eq. 4-6) the gradient of score k is G·w_k,
where G = dL/dW is the gradient of the weight in use. SGD with momentum, Nesterov's too, and L2 is linear in its
gradients, so

    s_k(t) = c(t)·s_k(0) + w_k·B(t)

holds at every step, where B has the shape of the weight, starts at 0 and is trained by the same SGD on the gradient
G, and the number c starts at 1 and is trained by the same SGD on the gradient 0 (only weight decay moves it). So B
and c are the parameters here, and the state of a layer does not grow with K. docs/decisions/0001 says more.
"""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainers.kernels import native
from trainers.kernels import torch_kernels as kernels
from trainers.kernels.options import Options, check_order
from trainers.kernels.ranks import option_ranks, ranked_values
from trainers.kernels.winners import NOWHERE, blocks, outside, winners
from trainers.methods.base import SelectedWeight
from trainers.methods.snapshots import options_in_use

NUMPY_TYPES = torch.float32, torch.float64
WORTH_THREADS = 1 << 17  # connections x options: below, handing work to threads costs more than it saves


def straight_through(weight: Tensor, accumulated: Tensor, scale: Tensor) -> Tensor:
    """`weight` as a leaf of the graph, whose gradient becomes that of B as it stands, and that of c is 0 (eq. 6).

    A leaf and a hook cost a fraction of an autograd function in Python, which is what a small layer would wait for.
    """
    leaf = weight.detach().requires_grad_()
    leaf.register_post_accumulate_grad_hook(partial(_pass_gradient, accumulated, scale))  # type: ignore[no-untyped-call]
    return leaf


def _pass_gradient(accumulated: Tensor, scale: Tensor, leaf: Tensor) -> None:
    accumulated.grad = leaf.grad if accumulated.grad is None or leaf.grad is None else accumulated.grad + leaf.grad
    leaf.grad = None
    if scale.grad is None:
        scale.grad = torch.zeros_like(scale)


class SlotWeight(SelectedWeight):
    """Gives a layer the selected value of each connection. The layer's trainable `original` is B.

    On CPU, and on CUDA where there are many options, the selected values and the interval of each are kept, and only
    connections whose B/c left its interval are selected again; elsewhere a kernel evaluates all K
    (`trainers.kernels.torch_kernels`).
    """

    def __init__(
        self, options: Options, weight: Tensor, *, probabilistic: bool = False, sample_at_evaluation: bool = False
    ):
        super().__init__()
        self.options = options
        self.choices = options.count
        self.probabilistic = self.evaluated_both_ways = probabilistic
        self.sample_at_evaluation = sample_at_evaluation
        self.scale = nn.Parameter(torch.ones((), dtype=weight.dtype, device=weight.device))
        self.register_buffer("in_use", torch.empty_like(weight, requires_grad=False), persistent=False)
        for name in ("lower", "upper"):
            self.register_buffer(name, None, persistent=False)
        if self._selects_again(weight):
            self._intervals(weight.numel())
        self._options_struct: tuple[Any, Any, Any] | None = None
        self._leaf: tuple[Tensor, Tensor] | None = None  # B, and `in_use` as its leaf

    in_use: Tensor
    lower: Tensor | None  # the interval in which it stays in use, as keys; None where all K are evaluated anyway
    upper: Tensor | None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_options_struct": None, "_leaf": None}  # they hold addresses: a copy makes its own

    def right_inverse(self, weight: Tensor) -> Tensor:
        """B starts at 0, whatever the layer's weight was."""
        return torch.zeros_like(weight, memory_format=torch.contiguous_format)

    def forward(self, accumulated: Tensor) -> Tensor:
        sampled = self.probabilistic if self.training else self.sample_at_evaluation
        weight = self._sample(accumulated) if sampled else self._greedy(accumulated)
        if not (torch.is_grad_enabled() and accumulated.requires_grad):
            return weight.detach()
        return straight_through(weight, accumulated, self.scale) if sampled else self._leaf_in_use(accumulated)

    def _leaf_in_use(self, accumulated: Tensor) -> Tensor:
        """`in_use` as a leaf: the same one in every step, as making it takes longer than a small layer does."""
        if self._leaf is None or self._leaf[0] is not accumulated:
            self._leaf = accumulated, straight_through(self.in_use, accumulated, self.scale)
        return self._leaf[1]

    def selected(self, accumulated: Tensor) -> Tensor:
        return self._greedy(accumulated).clone()

    def described(self, accumulated: Tensor, weight: Tensor) -> dict[str, Any]:
        return options_in_use(self.options, accumulated, self.scale.item(), weight)

    def chosen(self, accumulated: Tensor) -> Tensor:
        """The rank by initial score of every connection's option (`trainers.kernels.ranks`)."""
        weight = self.selected(accumulated)
        return option_ranks(self.options, weight).view(weight.shape)

    def chosen_weight(self, chosen: Tensor) -> Tensor:
        return ranked_values(self.options, chosen.flatten()).view(chosen.shape)

    def scores(self, accumulated: Tensor) -> Tensor:
        """All K scores of every connection, (*weight.shape, K): what the paper's code would hold. Only to look at."""
        flat = accumulated.detach().reshape(-1)
        lines = [self.options.line(option, flat.device) for option in range(self.options.count)]
        totals = [self.scale.detach() * score + value * flat for value, score in lines]
        return torch.stack(totals, dim=-1).view(*accumulated.shape, self.options.count)

    def _greedy(self, accumulated: Tensor) -> Tensor:
        # Looked at on every call: optimizers may update B without raising its version counter (fused SGD does).
        if self._on_cpu(accumulated):
            self._select_again(accumulated)
        elif kernels.keeps_intervals(accumulated, self.options):
            kept = self._intervals(accumulated.numel())
            kernels.select_again(accumulated, self.scale, self.options, self.in_use, kept)
        else:
            kernels.select(accumulated, self.scale, self.options, out=self.in_use)
        return self.in_use

    def _select_again(self, accumulated: Tensor) -> None:
        """Re-select, in place, the connections that left their interval: exactly the winners of all K."""
        in_use, scale, count = self.in_use, self.scale.item(), accumulated.numel()
        check_order(accumulated, in_use)
        lower, upper = self._intervals(count)
        library, options = self._native()
        if library is not None:
            ends = lower.data_ptr(), upper.data_ptr()
            if library.slot_select(options, 0, count, accumulated.data_ptr(), scale, in_use.data_ptr(), *ends) < 0:
                raise MemoryError(f"selection among {self.options.count} options")
            return
        self._select_by_numpy(accumulated, scale, in_use.view(-1).numpy(), lower.numpy(), upper.numpy())

    def _select_by_numpy(self, accumulated: Tensor, scale: float, in_use: Any, lower: Any, upper: Any) -> None:
        flat = accumulated.detach().view(-1)
        if scale > 0:
            x = flat if scale == 1.0 else flat * (1.0 / scale)
            stale = outside(x.float().numpy(), lower, upper)
        else:
            stale = np.arange(flat.numel())
        b = flat.numpy()
        for piece in blocks(stale, self.options.count):
            found = winners(b[piece], scale, *self.options.lines(piece))
            in_use[piece] = found.value
            lower[piece], upper[piece] = (found.lower, found.upper) if scale > 0 else NOWHERE

    @staticmethod
    def _on_cpu(tensor: Tensor) -> bool:
        """Whether the layer with such a B is selected by C or NumPy."""
        return tensor.is_cpu and tensor.dtype in NUMPY_TYPES

    def _selects_again(self, tensor: Tensor) -> bool:
        """Whether the layer with such a B keeps intervals, and evaluates all K only outside of them."""
        return self._on_cpu(tensor) or kernels.keeps_intervals(tensor, self.options)

    def _apply(self, fn: Any, recurse: bool = True) -> SlotWeight:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._leaf = None
        if not self._selects_again(self.in_use):
            self.lower = self.upper = None
        return self

    def _intervals(self, connections: int) -> tuple[Tensor, Tensor]:
        """Lower and upper ends of the intervals as they are kept; at first no x is in any."""
        lower, upper = self.lower, self.upper
        if lower is None or upper is None:
            with torch.inference_mode(False):  # evaluation may be the first to want them, on another device
                none = torch.empty(connections, dtype=torch.int16, device=self.in_use.device)
                lower, upper = (torch.full_like(none, int(key)) for key in NOWHERE)
            self.lower, self.upper = lower, upper
        return lower, upper

    def _sample(self, accumulated: Tensor) -> Tensor:
        """A sampled value for every connection; one noise key is that of all of them."""
        noise_key = self.noise_key(accumulated.device)
        library, options = self._native() if accumulated.is_cpu and accumulated.is_contiguous() else (None, None)
        if library is None:
            return kernels.sample(accumulated, self.scale, self.options, noise_key)
        out = torch.empty_like(accumulated, memory_format=torch.contiguous_format)
        count, threads = accumulated.numel(), torch.get_num_threads()
        call = (accumulated.data_ptr(), self.scale.item(), int(noise_key) & ((1 << 64) - 1), out.data_ptr())
        parts = threads if count * self.options.count >= WORTH_THREADS else 1
        ends = [count * part // parts for part in range(parts + 1)]
        if parts == 1:
            failed = library.slot_sample(options, 0, count, *call)
        else:
            pool = native.thread_pool(parts)
            failed = min(pool.map(lambda a, b: library.slot_sample(options, a, b, *call), ends, ends[1:]))
        if failed:
            raise MemoryError(f"sampling among {self.options.count} options")
        return out

    def _native(self) -> tuple[Any, Any]:
        """The compiled library and these options as it takes them, or (None, None)."""
        if self._options_struct is None:
            library = native.library()
            made = self.options.native() if library is not None else None
            self._options_struct = (library, ctypes.byref(made[0]), made) if made is not None else (None, None, None)
        return self._options_struct[:2]


def attach_options(
    layer: nn.Module, options: Options, *, probabilistic: bool = False, sample_at_evaluation: bool = False
) -> SlotWeight:
    """Make the layer's weight a slot machine over these options."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    if options.connections != weight.numel():
        raise ValueError(f"options: the layer has {weight.numel()} connections, and they are of {options.connections}")
    slot = SlotWeight(options, weight, probabilistic=probabilistic, sample_at_evaluation=sample_at_evaluation)
    parametrize.register_parametrization(layer, "weight", slot, unsafe=True)
    return slot
