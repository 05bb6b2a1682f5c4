"""The card of learned weights, the baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from trainers.methods.card import Family, Given, Method
from trainers.methods.kinds import Options, ValueBound, value_bound_words

if TYPE_CHECKING:
    from torch import nn

PAPERS_EPOCHS = {"lenet": 200, "conv2": 200, "conv4": 330, "conv6": 330, "vgg19": 320}
AUTHORS_EPOCHS = {"lenet": 220, "conv2": 240, "conv4": 240, "conv6": 240, "vgg19": 220}


@dataclass(frozen=True)
class LearnedWeights(Method):
    """Weights learned from random ones: Glorot-uniform, Kaiming-normal, or one of K options a connection, at random."""

    # random_option: the slot machines' untrained counterpart, which alone has options
    start: Annotated[
        Literal["glorot", "kaiming", "random_option"], Field(description="learned weights start from this")
    ]
    options: Options | None
    value_bound: ValueBound | None

    slot_phase: ClassVar = False
    families: ClassVar = (Family("learned", "learned weights", "X", "#48525c", "#b3bcc5"),)
    in_words: ClassVar = frozenset({"start"})
    decisive: ClassVar = ("start",)
    phrases: ClassVar = {"value_bound": value_bound_words}

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        epochs = (AUTHORS_EPOCHS if preset == "authors_code" else PAPERS_EPOCHS).get(given["network"])
        random_option = given.get("start", "glorot") == "random_option"
        return {
            "start": "glorot",
            **({"options": 8, "value_bound": "glorot_uniform"} if random_option else {}),
            **({"finetune_epochs": epochs} if epochs else {}),
        }

    @classmethod
    def without(cls, own: Given) -> dict[str, str]:
        start = own.get("start") or "glorot"
        if start == "random_option":
            return {}
        return dict.fromkeys(("options", "value_bound"), f"weights that start from {start} have no options")

    @property
    def words(self) -> str:
        starts = {"glorot": "", "kaiming": " from Kaiming-normal", "random_option": f" from 1 of K={self.options}"}
        return f"learned weights{starts[self.start]}"

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        from trainers.methods.learned.weight import set_initial_weights

        set_initial_weights(layer, name, seed, self.start, self.options, self.value_bound)
