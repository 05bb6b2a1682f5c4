"""A conversion's card: what it makes of a layer's weights, said without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.methods.card import Family

if TYPE_CHECKING:
    from torch import Tensor


class Conversion:
    """A way to store a layer's weights: as codes, integers below `codes`, and a few scales (float32).

    A frozen dataclass; its fields are a recipe's, there with `conversion_` before their names. A converted weight,
    taken apart again, gives the codes and scales that it was put together from: so a network holds weights, no more.
    """

    family: ClassVar[Family]  # of arms whose network was converted so, whatever method found it

    @classmethod
    def faults(cls, given: Mapping[str, Any]) -> list[str]:
        """What breaks a rule between its fields, which are all there, as `field: rule, value` lines."""
        return []

    @property
    def words(self) -> str:
        """What it is called in labels: '4-bit per channel'."""
        raise NotImplementedError

    @property
    def codes(self) -> int:
        """How many codes there are."""
        raise NotImplementedError

    def scales_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the scales of a weight of this shape; (0,) where there are none."""
        return (0,)

    def convert(self, weight: Tensor) -> Tensor:
        """The weight that stands for this one from now on, of its shape. Raises ValueError for what is not finite."""
        raise NotImplementedError

    def taken_apart(self, converted: Tensor) -> tuple[Tensor, Tensor]:
        """The codes (int64, of the weight's shape) and scales of a weight that `convert` made."""
        raise NotImplementedError

    def put_together(self, codes: Tensor, scales: Tensor) -> Tensor:
        """The weight of these codes and scales, bit for bit that which was taken apart. float32."""
        raise NotImplementedError
