"""The card of edge-popup (Ramanujan et al., CVPR 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainers.methods.card import Family, Given, Method
from trainers.methods.kinds import weight_init_words

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class EdgePopup(Method):
    """Fixed random weights; keep the best-scoring share of them (Ramanujan et al., 2020)."""

    keep_fraction: Annotated[float, Field(gt=0, le=1, description="share of connections kept")]
    # kaiming_normal: N(0, σ²), σ² = 2/fan_in; signed_constant: ±σ
    weight_init: Annotated[Literal["kaiming_normal", "signed_constant"], Field(description="the fixed weights")]
    # σ² = 2/(fan_in·keep_fraction): as many inputs as are kept
    scale_by_keep_fraction: Annotated[bool, Field(description="divide the fixed weights by sqrt(keep_fraction)")]
    gain: Annotated[
        Literal["mean_size"] | None,
        Field(description="mean_size: the signs of the weights kept, times their mean size; left out: as they are"),
    ] = None
    frozen_fraction: Annotated[
        float | None, Field(gt=0, lt=1, description="share of connections locked in or out at random; left out: none")
    ] = None

    families: ClassVar = (Family("edge_popup", "edge-popup", "^", "#00745a", "#45c79f"),)
    in_words: ClassVar = frozenset({"keep_fraction", "gain", "frozen_fraction"})
    optional: ClassVar = frozenset({"gain", "frozen_fraction"})
    phrases: ClassVar = {
        "weight_init": weight_init_words,
        "scale_by_keep_fraction": lambda value: "scaled" if value else "",
    }

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        """Ramanujan et al. (2020): SGD 0.1, cosine, momentum 0.9, L2 1e-4, batch 128, 100 epochs."""
        return {
            "keep_fraction": 0.5,
            "weight_init": "signed_constant",
            "scale_by_keep_fraction": False,
            "slot_epochs": 100,
            "slot_learning_rate": 0.1,
            "slot_weight_decay": 1e-4,
            "slot_schedule": "cosine",
        }

    @classmethod
    def faults(cls, own: Given) -> list[str]:
        if own["gain"] and own["weight_init"] == "signed_constant":
            return [
                f"gain: signed constants have one size already, so leave it out, not {own['gain']!r} "
                "(or take weight_init: kaiming_normal)"
            ]
        return []

    @property
    def words(self) -> str:
        frozen = f", {100 * self.frozen_fraction:g} % frozen" if self.frozen_fraction else ""
        gain = " with gain" if self.gain else ""
        return f"edge-popup keep {100 * self.keep_fraction:g} %{gain}{frozen}"

    @property
    def selection_effort(self) -> float:
        return 1000.0  # 500 in Lenet, twice that where layers do not stay in the cache

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.methods.edge_popup.weight import attach_popup, popup_weights

        fixed = popup_weights(
            layer, name, seed, self.keep_fraction, self.weight_init, scaled=self.scale_by_keep_fraction
        )
        attach_popup(layer, name, seed, fixed, self.keep_fraction, self.frozen_fraction or 0.0, self.gain)
