"""bfloat16: the upper half of every float32, rounded to nearest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from trainers.conversions.card import Conversion
from trainers.methods.card import Family

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Bfloat16(Conversion):
    """Every weight rounded to bfloat16 (8 bits of significand), 16 bits each."""

    family: ClassVar = Family("bfloat16", "bfloat16", ">", "#5b5f00", "#c3c85a")

    @property
    def words(self) -> str:
        return "bfloat16"

    @property
    def codes(self) -> int:
        return 1 << 16

    def convert(self, weight: Tensor) -> Tensor:
        return weight.bfloat16().float()

    def taken_apart(self, converted: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        bits = converted.detach().contiguous().view(torch.int32).long() >> 16
        return bits & 0xFFFF, converted.new_empty(0)

    def put_together(self, codes: Tensor, scales: Tensor) -> Tensor:
        import torch

        signed = codes - (codes >= 1 << 15).long() * (1 << 16)
        return (signed << 16).to(torch.int32).view(torch.float32)
