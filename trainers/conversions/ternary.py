"""Ternary weights: the best of all -a, 0, a, found exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from trainers.conversions.card import Conversion
from trainers.conversions.groups import groups, in_groups
from trainers.methods.card import Family

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Ternary(Conversion):
    """Each weight -a, 0 or a, with the least angle to the weights as they were (TNT: Zhang et al., 2019).

    Given it, a = <w, t> / <t, t> leaves the least squared error, so this is its optimum as well.
    """

    scales: Literal["kernel", "channel", "layer"]

    family: ClassVar = Family("ternary", "ternary", "<", "#7d4a1e", "#d9a273")

    @property
    def words(self) -> str:
        return f"ternary per {self.scales}"

    @property
    def codes(self) -> int:
        return 3

    def scales_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return groups(shape, self.scales)[:1]

    def convert(self, weight: Tensor) -> Tensor:
        ternary, scales = ternarise(in_groups(weight, self.scales))
        return self.put_together((ternary + 1).view(weight.shape), scales)

    def taken_apart(self, converted: Tensor) -> tuple[Tensor, Tensor]:
        flat = in_groups(converted, self.scales)
        return (flat.sign().long() + 1).view(converted.shape), flat.abs().amax(1)

    def put_together(self, codes: Tensor, scales: Tensor) -> Tensor:
        flat = in_groups(codes, self.scales) - 1
        return (flat.float() * scales[:, None] + 0.0).view(codes.shape)  # + 0.0: no weight is -0


def ternarise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """t (n, m) of -1, 0, 1 (int64) with the least angle to each row w of (n, m), and the scales <w, t> / <t, t> (n,).

    cos(w, t) = Σ|w_i| over the k weights in use / (|w|·√k), which for each k is largest with the k largest |w|. So the
    |w| are sorted, and of their prefix sums that with the largest sum/√k wins; of equal ones the shortest (Zhang et
    al., 2019, algorithm 1). Of equal |w| the first are in use. Raises ValueError for weights that are not finite.
    """
    import torch

    if not weight.isfinite().all():
        raise ValueError("weight: a number that is not finite cannot be made ternary")
    size, order = weight.abs().sort(dim=1, descending=True, stable=True)
    sums = size.double().cumsum(1)
    count = torch.arange(1, weight.shape[1] + 1, device=weight.device)
    best = (sums / count.double().sqrt()).argmax(1)
    used = torch.empty_like(order).scatter_(1, order, count.expand_as(order)) <= best[:, None] + 1
    scales = sums.gather(1, best[:, None])[:, 0] / (best + 1)
    return (weight.sign() * used).long(), scales.float()
