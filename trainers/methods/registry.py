"""The methods by name. To add one: its file, and its line in METHODS (docs/adding.md). No torch is imported here."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Protocol

from trainers.errors import InvalidInput, one_of
from trainers.methods.binary.card import BinaryWeights
from trainers.methods.card import Method
from trainers.methods.edge_popup.card import EdgePopup
from trainers.methods.learned.card import LearnedWeights
from trainers.methods.plugged import imported_card, plugged_card
from trainers.methods.random_features.card import RandomFeatures
from trainers.methods.signed_supermask.card import SignedSupermask
from trainers.methods.slot_machine.card import SlotMachine
from trainers.methods.supermask.card import Supermask
from trainers.plugins.known import is_of_plugin

METHODS: dict[str, type[Method]] = {
    "slot_machine": SlotMachine,
    "learned": LearnedWeights,
    "edge_popup": EdgePopup,
    "supermask": Supermask,
    "signed_supermask": SignedSupermask,
    "random_features": RandomFeatures,
    "binary": BinaryWeights,
}


class _Recipe(Protocol):
    @property
    def method(self) -> str: ...
    @property
    def plugins(self) -> str | None: ...

    def method_fields(self) -> dict[str, Any]: ...


def method_card(name: object, plugins: object = None) -> type[Method]:
    """The card of the method of this name; `plugins`: those of its recipe. Raises InvalidInput for a name that is none.

    That of a plug-in's method whose code was not imported says what is told of it, and cannot be attached.
    """
    if isinstance(name, str) and is_of_plugin(name):
        return plugged_card(name, plugins)
    if not isinstance(name, str) or name not in METHODS:
        raise InvalidInput(one_of("method", name, METHODS))
    return METHODS[name]


def build_method(recipe: _Recipe) -> Method:
    """The recipe's method, with its hyperparameters. Raises InvalidInput for a plug-in's that was not imported."""
    if is_of_plugin(recipe.method):
        return imported_card(recipe.method, recipe.plugins).of(recipe.method_fields())
    return method_card(recipe.method).of(recipe.method_fields())


def own_fields(card: type[Method]) -> tuple[str, ...]:
    """The names of the method's hyperparameters."""
    return tuple(field.name for field in fields(card))  # type: ignore[arg-type]  # every method is a dataclass


# Which fields only some methods have. A field that a recipe's method does not have must be absent (None).
METHOD_FIELDS: dict[str, frozenset[str]] = {name: frozenset(own_fields(card)) for name, card in METHODS.items()}
ALL_METHOD_FIELDS: frozenset[str] = frozenset().union(*METHOD_FIELDS.values())
