"""k-bit uniform quantisation, its step chosen by least squares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trainers.conversions.card import Conversion
from trainers.conversions.groups import groups, in_groups
from trainers.methods.card import Family

if TYPE_CHECKING:
    from torch import Tensor

CANDIDATES = 64  # ranges that are tried, evenly spaced up to the largest |w|


@dataclass(frozen=True)
class Quantised(Conversion):
    """Each weight rounded to one of 2^k evenly spaced levels from -a to a; a is of a layer or of a channel."""

    bits: int
    scales: Literal["layer", "channel"]

    family: ClassVar = Family("quantised", "quantised", "h", "#2e6b12", "#8fcf6a")

    @classmethod
    def faults(cls, given: Mapping[str, Any]) -> list[str]:
        scales = given["conversion_scales"]
        known = ("layer", "channel")
        return [] if scales in known else [f"conversion_scales: quantised knows {' and '.join(known)}, not {scales!r}"]

    @property
    def words(self) -> str:
        return f"{self.bits}-bit per {self.scales}"

    @property
    def codes(self) -> int:
        return 1 << self.bits

    def scales_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return groups(shape, self.scales)[:1]

    def convert(self, weight: Tensor) -> Tensor:
        codes, scales = quantise(in_groups(weight, self.scales), self.bits)
        return self.put_together(codes.view(weight.shape), scales)

    def taken_apart(self, converted: Tensor) -> tuple[Tensor, Tensor]:
        flat = in_groups(converted, self.scales)
        scales = flat.abs().amax(1)  # the largest |w| of every group is at an end of its range
        return _nearest(flat, scales, self.bits).view(converted.shape), scales

    def put_together(self, codes: Tensor, scales: Tensor) -> Tensor:
        flat = in_groups(codes, self.scales)
        return (levels(flat, self.bits) * scales[:, None]).view(codes.shape)


def levels(codes: Tensor, bits: int) -> Tensor:
    """The level of each code in units of the range: (2·code + 1 - 2^k) / (2^k - 1), from -1 to 1. float32."""
    last = (1 << bits) - 1
    return (2 * codes - last).float() / last


def quantise(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """The codes (n, m) and ranges (n,) with the least squared error in each row of (n, m), of the ranges tried.

    For every range the nearest codes are taken, and then the scale a = <w, l> / <l, l> that fits their levels l best:
    what is left of |w|² is |w|² - <w, l>² / <l, l>. For one bit that is a = mean |w| (Rastegari et al., ECCV 2016).
    Raises ValueError for weights that are not finite.
    """
    import torch

    if not weight.isfinite().all():
        raise ValueError("weight: a number that is not finite cannot be quantised")
    wide = weight.double()
    largest = wide.abs().amax(1)
    best = torch.full_like(largest, -1.0)
    codes, scales = torch.zeros_like(weight, dtype=torch.int64), torch.zeros_like(largest)
    for candidate in range(1, CANDIDATES + 1):
        found = _nearest(weight, (largest * candidate / CANDIDATES).float(), bits)
        level = levels(found, bits).double()
        fit, size = (wide * level).sum(1), level.square().sum(1)
        better = fit.square() / size > best
        best = torch.where(better, fit.square() / size, best)
        codes = torch.where(better[:, None], found, codes)
        scales = torch.where(better, fit / size, scales)
    return codes, scales.float()


def _nearest(weight: Tensor, scales: Tensor, bits: int) -> Tensor:
    """The code of the level nearest to each weight; of weights that are all 0, that above the middle."""
    last = (1 << bits) - 1
    reach = scales[:, None].where(scales[:, None] > 0, 1.0)
    # In float64 half a step up is exact enough for what lies on a level to be taken for that level.
    place = (weight.double() / reach.double()) * last / 2 + last / 2
    return (place + 0.5).floor().clamp(0, last).long()
