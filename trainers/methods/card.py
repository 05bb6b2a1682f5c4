"""A method's card: all that is a method's own, said once, and read without torch.

Whoever plans, names or reports reads cards; only `attach`, which trains, may import torch, inside the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from torch import Tensor, nn

Given = Mapping[str, Any]


@dataclass(frozen=True)
class Family:
    """Arms that every table and figure shows alike: by one label, one colour and one marker."""

    name: str
    label: str
    marker: str  # matplotlib's
    light: str  # the colour on a light page, #rrggbb; on both pages at least 4.5:1 against the page
    dark: str


class Method:
    """A way to find a network's weights: a frozen dataclass whose fields are its hyperparameters.

    A field is `Annotated[kind, Field(…, description="…")]`: from it the recipe has its field, its rule and its words.
    """

    slot_phase: ClassVar[bool] = True  # without one only the weights themselves are learned, in the finetune phase
    solved: ClassVar[bool] = False  # whether `solve` finds its last layer, in place of steps of the slot phase
    families: ClassVar[tuple[Family, ...]]
    in_words: ClassVar[frozenset[str]] = frozenset()  # the fields that `words` tells, so that labels do not again
    optional: ClassVar[frozenset[str]] = frozenset()  # fields that a recipe may leave out, and then has none of
    decisive: ClassVar[tuple[str, ...]] = ()  # the fields of its own that `preset_fields` looks at
    phrases: ClassVar[Mapping[str, Callable[[Any], str]]] = {}  # a field's value in labels, other than "name value"

    @classmethod
    def preset_fields(cls, given: Given, preset: str) -> dict[str, Any]:
        """What the preset fills in of the method's fields, its slot phase and whatever else the method needs.

        Left out is what the preset has nothing to say of, as the epochs of a network that its source did not train.
        """
        raise NotImplementedError

    @classmethod
    def without(cls, own: Given) -> dict[str, str]:
        """Which of its fields a recipe with these values must leave out, each with the reason."""
        return {}

    @classmethod
    def faults(cls, own: Given) -> list[str]:
        """What breaks a rule between its fields, as `field: rule, value` lines."""
        return []

    @classmethod
    def idle(cls, *, convolutions: bool) -> dict[str, Any]:
        """Which of its fields do nothing in a network with or without convolutions, each with a value for all of them.

        Recipes that differ in these alone are trained once, so that a field here must change not one bit.
        """
        return {}

    @classmethod
    def recorded_for_all(cls, own: Given) -> dict[str, Any]:
        """Which of its fields only choose among figures that every record holds, each with a value for all of them.

        Recipes that differ in these alone are trained once, and each reads its own figures from the same records.
        """
        return {}

    @classmethod
    def looks_at_length(cls, own: Given) -> bool:
        """Whether its slot phase hangs on the phase's length: then phases of other lengths share nothing with it.

        Only such a method is told how far the phase has come. Not asked of plug-ins, which are never told.
        """
        return False

    @classmethod
    def of(cls, values: Given) -> Self:
        """The method with its hyperparameters taken from these values."""
        own: Any = fields(cls)  # type: ignore[arg-type]  # every method is a dataclass
        return cls(**{field.name: values.get(field.name) for field in own})

    @property
    def words(self) -> str:
        """What an arm of this method is called, shortest: 'K=8 GS', 'supermask'."""
        raise NotImplementedError

    def family(self, finetuned: bool) -> Family:
        """The family of an arm; `finetuned`: it has a slot phase and a finetune phase."""
        return self.families[0]

    @property
    def options_weighed(self) -> int:
        """How many options every connection weighs in a training pass; 0 where the pass takes no longer for them."""
        return 0

    @property
    def selection_effort(self) -> float:
        """What a pass takes to select a connection's weight, in FLOPs that the network does in the same time."""
        return 0.0

    @property
    def evaluation_passes(self) -> int:
        """How often an evaluation goes through its images."""
        return 1

    def attach(self, layer: nn.Module, name: str, seed: int) -> None:
        """Give the layer its initial state. `name` is the layer's path; it and the seed key its randomness.

        A method that selects registers a SelectedWeight (`trainers.methods.base`) on `layer.weight`.
        """
        raise NotImplementedError

    def solve(
        self,
        network: nn.Module,
        forward: Callable[[Tensor], Tensor],
        training: Iterable[tuple[Tensor, Tensor]],
        validation: Iterable[tuple[Tensor, Tensor]],
    ) -> None:
        """Set the network's last layer, which the method is not attached to, from one pass over its data.

        forward: what the network makes of images (n, channels, height, width); the batches are images and labels (n,).
        """
        raise NotImplementedError
