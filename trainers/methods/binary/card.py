"""The card of binary weights, trained as ReCU trains them (Xu et al., ICCV 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from trainers.methods.card import Family, Given, Method
from trainers.methods.schedules import is_tuned

if TYPE_CHECKING:
    from torch import nn

WITH_BATCH_NORM = frozenset({"vgg19", "resnet18", "resnet34", "resnet50", "resnet101", "wide_resnet50"})
Quantile = Annotated[float, Field(gt=0.5, lt=1)]


@dataclass(frozen=True)
class BinaryWeights(Method):
    """A sign for each connection and a learned scale for each output channel, in all layers (after Xu et al., 2021).

    They publish weights and activations of one bit together, with the first and the last layer as they were; weights
    alone, in all layers, are ours.
    """

    tau_start: Annotated[Quantile, Field(description="the quantile that shadow weights are clamped at, first epoch")]
    tau_end: Annotated[Quantile, Field(description="what it would be in the epoch after the last, reached as exp(x)")]

    families: ClassVar = (Family("binary", "binary weights", "H", "#7a2ea0", "#cf9cf0"),)

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        """Xu et al. (2021), CIFAR-10: SGD 0.1, cosine, momentum 0.9, L2 5e-4, batch 256, 600 epochs. Their warm-up of
        five epochs is left out. Their networks have batch norm; for those without the rate is ours."""
        return {
            "tau_start": 0.85,
            "tau_end": 0.99,
            "batch_size": 128 if is_tuned(given["network"], preset) else 256,
            "slot_epochs": 600,
            "slot_learning_rate": 0.1 if given["network"] in WITH_BATCH_NORM else 0.01,
            "slot_weight_decay": 5e-4,
            "slot_schedule": "cosine",
        }

    @classmethod
    def faults(cls, own: Given) -> list[str]:
        start, end = own["tau_start"], own["tau_end"]
        if start is None or end is None or start <= end:
            return []
        return [f"tau_end: at least tau_start, which is {start!r}, not {end!r}"]

    @classmethod
    def looks_at_length(cls, own: Given) -> bool:
        return bool(own["tau_start"] != own["tau_end"])

    @property
    def words(self) -> str:
        return "binary weights"

    @property
    def selection_effort(self) -> float:
        return 1500.0  # in Lenet

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.methods.binary.weight import attach_binary

        attach_binary(layer, name, seed, self.tau_start, self.tau_end)
