"""What a spec tells of a plug-in in plain data, made from its code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, fields
from typing import Any, get_args, get_origin

from trainers.costs.plugged import told_of_cost
from trainers.costs.registry import COSTS, EPOCHS
from trainers.data.data_set import TASKS, DataSet, told_of_data_set
from trainers.data.registry import DATA_NAMES
from trainers.errors import InvalidInput, one_of
from trainers.methods.card import Method
from trainers.methods.registry import METHODS
from trainers.networks.network import NEUTRAL, Network
from trainers.networks.plugged import told_of_network
from trainers.networks.registry import NETWORKS
from trainers.plugins.known import KINDS, WORD, Facts
from trainers.recipe.choices import Preset
from trainers.recipe.method_fields import hyperparameters


def facts_of_registries(registries: Mapping[str, Mapping[str, Any]]) -> Facts:
    """The facts of all that a plug-in registers. Raises InvalidInput, a line per fault."""
    facts: dict[str, dict[str, Any]] = {}
    faults = [f"{registry}: a plug-in brings {' and '.join(_TOLD)} only" for registry, entries in registries.items()
               if entries and registry not in _TOLD]  # fmt: skip
    for registry, entries in registries.items() if not faults else ():
        for name, entry in entries.items():
            if not (isinstance(name, str) and WORD.fullmatch(name)):
                faults.append(f"{registry}: {name!r} is no name: small letters, digits and '_', a letter first")
                continue
            if name in BUILT_IN[registry]:
                faults.append(f"{registry}: {name!r} is one of the package's own; give it another name, for readers")
                continue
            try:
                facts.setdefault(registry, {})[name] = _TOLD[registry](entry)
            except (InvalidInput, TypeError, NotImplementedError, AttributeError) as error:
                faults.append(f"{registry}: {name}: {error or type(error).__name__}")
    if not facts and not faults:
        faults = [f"it registers nothing: give it one of {', '.join(KINDS)}, a dict of what it brings by name"]
    if faults:
        raise InvalidInput("\n".join(faults))
    return facts


class _PresetAlone(Mapping[str, Any]):
    """What a plug-in's presets may look at: nothing of the recipe."""

    def __getitem__(self, name: str) -> Any:
        raise InvalidInput(f"preset_fields: of a plug-in they go by the preset alone, and these look at {name!r}")

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


def method_facts(card: Any) -> dict[str, Any]:
    """What a spec tells of a plug-in's method, in plain data. Raises InvalidInput, TypeError."""
    if not (isinstance(card, type) and issubclass(card, Method)):
        raise InvalidInput(f"METHODS: {card!r} is no card; a method is a dataclass below trainers.methods.card.Method")
    own = fields(card)  # type: ignore[arg-type]  # every method is a dataclass
    stated = {one.name: None if one.default is MISSING else one.default for one in own}
    filled_in = {}
    for preset in get_args(Preset):
        filled = card.preset_fields(_PresetAlone(), preset)
        filled_in[preset] = {
            "options": {**stated, **{name: value for name, value in filled.items() if name in stated}},
            "fields": {name: value for name, value in filled.items() if name not in stated},
        }
    floats = sorted(name for name, kind in hyperparameters(card).items() if _bare(kind) is float)
    return {"slot_phase": card.slot_phase, "floats": floats, "presets": filled_in}


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if hasattr(kind, "__metadata__") else get_origin(kind) or kind


def network_facts(network: Any) -> dict[str, Any]:
    """What a spec tells of a plug-in's network, in plain data. Raises InvalidInput."""
    if not isinstance(network, Network):
        raise InvalidInput(f"{network!r} is no network; one is a trainers.networks.network.Network of its builder")
    _, _, *taken = inspect.signature(network.build).parameters.values()
    if strange := [one.name for one in taken if one.name not in NEUTRAL and one.default is one.empty]:
        raise InvalidInput(
            f"its builder takes {' and '.join(strange)}, which recipes do not have; they have {', '.join(NEUTRAL)}"
        )
    if 1 not in network.smallest_sides:
        raise InvalidInput("smallest_sides: the fewest pixels a side with padding 1, such as {1: 8}, is missing")
    return told_of_network(network)


def data_set_facts(data_set: Any) -> dict[str, Any]:
    """What a spec tells of a plug-in's data set, in plain data. Raises InvalidInput."""
    if not isinstance(data_set, DataSet):
        raise InvalidInput(f"{data_set!r} is no data set; one is a trainers.data.data_set.DataSet with its reader")
    if data_set.task not in TASKS:
        raise InvalidInput(one_of("task", data_set.task, TASKS))
    if len(data_set.input_shape) != 3:
        raise InvalidInput(f"input_shape: channels, height and width, not {data_set.input_shape!r}")
    return told_of_data_set(data_set)


_TOLD: dict[str, Callable[[Any], dict[str, Any]]] = {
    "METHODS": method_facts,
    "NETWORKS": network_facts,
    "DATA_SETS": data_set_facts,
    "COSTS": told_of_cost,
}
BUILT_IN: Mapping[str, Collection[str]] = {
    "METHODS": METHODS,
    "NETWORKS": NETWORKS,
    "DATA_SETS": DATA_NAMES,
    "COSTS": (*COSTS, EPOCHS),
}
