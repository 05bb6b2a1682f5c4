"""The cards of plug-ins' methods: their own where they were imported, else what their facts tell.

What a label, a family or a key needs is the same with the code and without it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from trainers.errors import nearest
from trainers.methods.card import Family, Method
from trainers.plugins.known import PlugIn, code_of, facts_of, is_of_plugin, needs_code

# One look for all of them: what else would be read from their code, which no report imports.
PLUG_IN = Family("plug_in", "plug-in", "8", light="#5c5470", dark="#b9b0cf")


@dataclass(frozen=True)
class Unread(Method):
    """The card of a method whose code was not imported: it can be planned and told of, and not trained."""

    families: ClassVar = (PLUG_IN,)


def plugged_card(name: str, plugins: object) -> type[Method]:
    """The card of a plug-in's method, as far as this process knows it."""
    card: type[Method] | None = code_of("METHODS", name, plugins)
    if card is not None:
        return card
    facts = facts_of("METHODS", name, plugins) or {}
    return type("Unread", (Unread,), {"slot_phase": facts.get("slot_phase", True)})


def imported_card(name: str, plugins: object) -> type[Method]:
    """The card whose methods can be attached. Raises InvalidInput where its code was not imported."""
    card: type[Method] | None = code_of("METHODS", name, plugins)
    if card is None:
        raise needs_code(plugins)
    return card


def preset_options(name: str, plugins: object, preset: str) -> dict[str, Any]:
    """The hyperparameters of a plug-in's method with what the preset fills in; None: a spec must state it."""
    facts = facts_of("METHODS", name, plugins)
    return dict(facts["presets"][preset]["options"]) if facts else {}


def preset_fields_of_plugin(name: str, plugins: object, preset: str) -> dict[str, Any]:
    """What else the preset fills in for a plug-in's method."""
    facts = facts_of("METHODS", name, plugins)
    return dict(facts["presets"][preset]["fields"]) if facts else {}


def options_of_plugins(plugins: Iterable[PlugIn]) -> list[str]:
    """The options of all of their methods, as specs name them: 'method_options.threshold'."""
    methods = [facts for plugin in plugins for facts in plugin.facts.get("METHODS", {}).values()]
    options = (option for facts in methods for filled in facts["presets"].values() for option in filled["options"])
    return [f"method_options.{option}" for option in dict.fromkeys(options)]


def unknown_options(name: str, plugins: object, given: Iterable[str]) -> list[str]:
    """A line for every option that a plug-in's method does not have."""
    if not is_of_plugin(name):
        return [f"method_options: they are of plug-ins; {name} has fields of its own, so leave them out"]
    facts = facts_of("METHODS", name, plugins)
    if facts is None:
        return []
    known = [*next(iter(facts["presets"].values()))["options"]]
    return [f"method_options.{option}: {name} has no such option{nearest(option, known)}" for option in given
            if option not in known]  # fmt: skip
