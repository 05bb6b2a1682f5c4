"""The card of supermasks (Zhou et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainers.methods.card import Family, Given, Method
from trainers.methods.kinds import EVALUATION_SAMPLES, evaluation_words, weight_init_words

if TYPE_CHECKING:
    from torch import nn

CONV_BATCH = {"conv2": 60, "conv4": 60, "conv6": 60}
CONV_RATE = {"conv4": 50.0, "conv6": 20.0}


@dataclass(frozen=True)
class Supermask(Method):
    """Fixed random weights; learn the probability with which each is kept (Zhou et al., 2019)."""

    # glorot_normal: N(0, σ²), σ² = 2/(fan_in + fan_out); signed_constant: ±σ
    weight_init: Annotated[Literal["glorot_normal", "signed_constant"], Field(description="the fixed weights")]
    # times connections / connections kept, in every pass
    rescale: Annotated[bool, Field(description="dynamic weight rescaling (Zhou et al., 2019)")]
    # mean_of_samples: of ten sampled masks' accuracies; threshold: one mask, m > 0
    evaluation: Annotated[
        Literal["mean_of_samples", "threshold"], Field(description="supermask mean_of_samples or threshold")
    ]

    families: ClassVar = (Family("supermask", "supermask", "v", "#a03a78", "#e694c6"),)
    phrases: ClassVar = {
        "weight_init": weight_init_words,
        "rescale": lambda value: "rescaled" if value else "",
        "evaluation": evaluation_words,
    }

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        """Zhou et al. (2019): momentum 0.9, no L2, rate 100 (CONV-4: 50, CONV-6: 20); the epochs are ours."""
        network = given["network"]
        return {
            "weight_init": "signed_constant",
            "rescale": True,
            "evaluation": "mean_of_samples",
            "batch_size": CONV_BATCH.get(network, 250),
            "slot_epochs": 100,
            "slot_learning_rate": CONV_RATE.get(network, 100.0),
            "slot_weight_decay": 0.0,
            "slot_schedule": "constant",
        }

    @property
    def words(self) -> str:
        return "supermask"

    @property
    def selection_effort(self) -> float:
        return 600.0

    @property
    def evaluation_passes(self) -> int:
        return EVALUATION_SAMPLES if self.evaluation == "mean_of_samples" else 1

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.methods.supermask.weight import attach_mask

        sampled = self.evaluation == "mean_of_samples"
        attach_mask(layer, name, seed, self.weight_init, rescale=self.rescale, sample_at_evaluation=sampled)
