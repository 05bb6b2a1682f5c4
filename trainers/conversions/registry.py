"""The conversions by name. To add one: its file, and its line in CONVERSIONS. No torch is imported here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol

from trainers.conversions.bfloat16 import Bfloat16
from trainers.conversions.card import Conversion
from trainers.conversions.quantised import Quantised
from trainers.conversions.ternary import Ternary
from trainers.methods.card import Family
from trainers.methods.plugged import PLUG_IN
from trainers.methods.registry import METHODS, method_card
from trainers.plugins.known import is_of_plugin

CONVERSIONS: dict[str, type[Conversion]] = {
    "bfloat16": Bfloat16,
    "quantised": Quantised,
    "ternary": Ternary,
}
PREFIX = "conversion_"  # of a conversion's fields, as a recipe has them


class _Recipe(Protocol):
    @property
    def conversion(self) -> str | None: ...


def build_conversion(recipe: _Recipe) -> Conversion | None:
    """The recipe's conversion with its fields; None where the network stays as training left it."""
    if recipe.conversion is None:
        return None
    own = {name: getattr(recipe, name) for name in conversion_fields(recipe.conversion)}
    return CONVERSIONS[recipe.conversion](**{name.removeprefix(PREFIX): value for name, value in own.items()})


def families() -> list[Family]:
    """The families of arms, in the order of tables: methods that select, plug-ins, conversions, the baselines last."""
    cards = sorted(METHODS.values(), key=lambda card: not card.slot_phase)
    selecting = [family for card in cards for family in card.families if card.slot_phase]
    baselines = [family for card in cards for family in card.families if not card.slot_phase]
    return [*selecting, PLUG_IN, *(card.family for card in CONVERSIONS.values()), *baselines]


def family_of(fields: Mapping[str, Any], finetuned: bool) -> Family:
    """The family of an arm with these fields of its recipe. `finetuned`: it has a slot phase and a finetune phase."""
    if fields.get("conversion") in CONVERSIONS:
        return CONVERSIONS[fields["conversion"]].family
    if is_of_plugin(fields["method"]):
        return PLUG_IN
    return method_card(fields["method"]).of(fields).family(finetuned)


def conversion_fields(name: str) -> tuple[str, ...]:
    """The fields that a recipe with the conversion of this name has for it."""
    card: Any = CONVERSIONS[name]  # every conversion is a dataclass
    return tuple(PREFIX + field.name for field in fields(card))


def conversion_faults(given: Mapping[str, Any]) -> list[str]:
    """What a recipe's `conversion` and its fields have too little or too much, as `field: rule, value` lines."""
    name = given["conversion"]
    wanted = conversion_fields(name) if name else ()
    faults = [f"{field}: missing, and {name} needs it" for field in wanted if given[field] is None]
    for field in sorted({field for other in CONVERSIONS for field in conversion_fields(other)} - set(wanted)):
        if given[field] is not None:
            whose = f"{name} has no such field" if name else "without a conversion there is no such field"
            faults.append(f"{field}: {whose}, so it must be left out, not {given[field]!r}")
    return faults + (CONVERSIONS[name].faults(given) if name and not faults else [])
