"""The card of signed supermasks (Koster et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from trainers.methods.card import Family, Given, Method

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SignedSupermask(Method):
    """Fixed random weights; learn which of them to keep, to drop or to invert (Koster et al., 2022)."""

    threshold_fraction: Annotated[
        float, Field(gt=0, lt=1, description="the threshold, as a share of a layer's largest initial |mask|")
    ]
    mask_decay: Annotated[
        float, Field(ge=0, lt=1, description="share by which masks shrink in every step, whatever the learning rate")
    ]

    families: ClassVar = (Family("signed_supermask", "signed supermask", "*", "#9a4a00", "#f0a860"),)

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        """Koster et al. (2022): ELU, SGD 0.005 with Nesterov's momentum, x 0.9 every 10 epochs, decoupled decay 3e-4,
        batch 128, 100 epochs; the threshold is their code's default."""
        return {
            "threshold_fraction": 0.75,
            "mask_decay": 3e-4,
            "activation": "elu",
            "batch_size": 128,
            "slot_epochs": 100,
            "slot_learning_rate": 0.005,
            "slot_nesterov": True,
            "slot_weight_decay": 0.0,
            "slot_schedule": "staircase",
            "slot_schedule_epochs": 10,
            "slot_schedule_factor": 0.9,
        }

    @property
    def words(self) -> str:
        return "signed supermask"

    @property
    def selection_effort(self) -> float:
        return 1000.0  # not measured by itself: about what edge-popup takes

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.methods.signed_supermask.weight import attach_signed_mask

        attach_signed_mask(layer, name, seed, self.threshold_fraction, self.mask_decay)
