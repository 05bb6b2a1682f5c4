"""The card of random features: of a random network only the last layer is learned, in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from trainers.methods.card import Family, Given, Method

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class RandomFeatures(Method):
    """Fixed random layers; the last one by ridge regression on what they give (Rahimi & Recht, 2008; Huang, 2006)."""

    # N(0, σ²), σ² = 2/fan_in. Between ReLUs, without biases, the scale is that of the outputs, and ridge takes it back
    value_scale: Annotated[float, Field(gt=0, le=100, description="multiplies the fixed weights; idle with ReLU")]

    solved: ClassVar = True
    families: ClassVar = (Family("random_features", "random features", "p", "#5a5a12", "#c9c95e"),)
    phrases: ClassVar = {"value_scale": lambda value: f"values x {value:g}" if value != 1 else ""}

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        """One pass. The rates are those of steps, of which it takes none."""
        return {
            "value_scale": 1.0,
            "slot_epochs": 1,
            "slot_learning_rate": 0.01,
            "slot_weight_decay": 0.0,
            "slot_schedule": "constant",
        }

    @property
    def words(self) -> str:
        return "random features"

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.methods.random_features.weight import attach_fixed

        attach_fixed(layer, name, seed, self.value_scale)

    def solve(
        self,
        network: nn.Module,
        forward: Callable[[Tensor], Tensor],
        training: Iterable[tuple[Tensor, Tensor]],
        validation: Iterable[tuple[Tensor, Tensor]],
    ) -> None:
        from trainers.methods.random_features.weight import solve_last_layer

        solve_last_layer(network, forward, training, validation)
