"""Weights of fixed random size, of which only the signs are learned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from trainers.methods.card import Given, Method

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class LearnedSigns(Method):
    """A weight is +m or -m: m is drawn and fixed, and a score decides the sign, at first by lot."""

    spread: Annotated[float, Field(ge=0, lt=1, description="sizes differ by this share of their middle")] = 0.5

    slot_phase: ClassVar = True  # signs are selected; afterwards the weights can be finetuned

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        return {
            "slot_learning_rate": 0.1,
            "slot_weight_decay": 0.0,
            "slot_schedule": "constant",
            "finetune_weight_decay": 0.0001,
        }

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from .weight import attach_signs

        attach_signs(layer, name, seed, self.spread)
