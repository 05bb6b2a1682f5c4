"""The fields that recipes have for plug-ins: which of them they need, and the options of a plug-in's method.

A recipe is flat, so the options are one field, a JSON object with sorted keys; specs have them one by one, as
`method_options.threshold`. Options and all else are checked by the plug-in's own code where that was imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from trainers.errors import InvalidInput, explain
from trainers.methods.plugged import preset_options, unknown_options
from trainers.plugins.known import (
    code_of,
    facts_of,
    is_of_plugin,
    key_of,
    keys_in,
    listed,
    name_fault,
    short,
    split,
)
from trainers.recipe.method_fields import hyperparameters

if TYPE_CHECKING:
    from trainers.methods.card import Method

OPTIONS = "method_options"
BELOW_OPTIONS = f"{OPTIONS}."
PLUGINS = "plugins"
COSTS = "costs"
REGISTRIES = {"method": "METHODS", "network": "NETWORKS", "dataset": "DATA_SETS"}
Plain = bool | int | float | str | None


def options_of(text: str | None) -> dict[str, Any]:
    """The options that a recipe's field holds. Raises ValueError."""
    if text is None:
        return {}
    options = json.loads(text)
    if not isinstance(options, dict) or any(not isinstance(value, Plain) for value in options.values()):
        raise ValueError(f"{OPTIONS}: an object of numbers, words, true and false, not {text!r}")
    return options


def options_text(options: Mapping[str, Any]) -> str | None:
    """Options as a recipe holds them: equal ones are equal texts."""
    return json.dumps(dict(options), sort_keys=True, allow_nan=False) if options else None


def canonical_options(text: str) -> str:
    """The same text as all others for these options. Raises ValueError."""
    return options_text(options_of(text)) or "{}"


def listed_names(text: str) -> str:
    """The names of costs in the order that all others have who list the same."""
    return listed(split(text)) or ""


def one_by_one(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a spec with options told one by one, however they were written. Raises InvalidInput."""
    told: dict[str, Any] = {}
    for name, value in fields.items():
        if name != OPTIONS or value is None:
            told[name] = value
            continue
        try:
            options = options_of(value) if isinstance(value, str) else value
        except ValueError:
            options = None
        if not isinstance(options, Mapping):
            raise InvalidInput(f"{OPTIONS}: a mapping such as {{threshold: 0.7}}, not {value!r}")
        told |= {f"{BELOW_OPTIONS}{option}": one for option, one in options.items()}
    return told


def with_plugins(given: Mapping[str, Any], preset: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A recipe's fields with the options of its method as one field, and with the plug-ins that it needs alone.

    Where the preset fills in all of the options, they are in the second instead. Raises InvalidInput.
    """
    fields = one_by_one(given)
    stated = {name.removeprefix(BELOW_OPTIONS): one for name, one in fields.items() if name.startswith(BELOW_OPTIONS)}
    rest = {name: value for name, value in fields.items() if not name.startswith(BELOW_OPTIONS) and name != PLUGINS}
    used, plugins, method = _used(rest), given.get(PLUGINS), rest.get("method")
    faults = [fault for registry, name in used if (fault := name_fault(registry, name, plugins))]
    if stated and isinstance(method, str):
        faults += unknown_options(method, plugins, stated)
    if faults:
        raise InvalidInput("\n".join(faults))
    if needed := listed(key for _, name in used if (key := key_of(name, plugins))):
        rest[PLUGINS] = needed
    if not is_of_plugin(method):
        return rest, {}
    options = {**preset_options(str(method), plugins, preset), **stated}
    if lacking := [f"{BELOW_OPTIONS}{name}: missing, and it has no default" for name, one in options.items()
                   if one is None and not _may_lack(str(method), name, plugins)]:  # fmt: skip
        raise InvalidInput("\n".join(lacking))
    present = {name: one for name, one in options.items() if one is not None}
    text = options_text(_of_their_kinds(str(method), present, plugins))
    told = {OPTIONS: text} if text else {}
    return ({**rest, **told}, {}) if stated else (rest, told)


def plugin_faults(fields: Mapping[str, Any]) -> list[str]:
    """What a recipe's plug-ins have too little or too much, as `field: rule, value` lines."""
    used, keys = _used(fields), keys_in(fields[PLUGINS])
    faults = [fault for registry, name in used if (fault := name_fault(registry, name, fields[PLUGINS]))]
    needed = {key_of(name, fields[PLUGINS]) for _, name in used}
    faults += [f"{PLUGINS}: nothing here is of {short(key)}, so leave it out" for key in keys if key not in needed]
    if not is_of_plugin(fields["method"]) and fields[OPTIONS] is not None:
        faults += unknown_options(fields["method"], None, {})
    return faults


def _used(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a recipe's fields name of plug-ins: registries, and names in them."""
    one_each = [
        (registry, str(fields[field])) for field, registry in REGISTRIES.items() if is_of_plugin(fields.get(field))
    ]
    return [*one_each, *(("COSTS", name) for name in split(fields.get(COSTS)))]


def _may_lack(method: str, option: str, plugins: object) -> bool:
    card: type[Method] | None = code_of("METHODS", method, plugins)
    return option in card.optional if card else facts_of("METHODS", method, plugins) is None


def _of_their_kinds(method: str, options: Mapping[str, Any], plugins: object) -> dict[str, Any]:
    """The options as every process has them, with the card's code or without; checked where it is. InvalidInput."""
    floats = (facts_of("METHODS", method, plugins) or {}).get("floats", ())
    told = {name: float(one) + 0.0 if name in floats and isinstance(one, int | float) and not isinstance(one, bool)
            else one for name, one in options.items()}  # fmt: skip
    card: type[Method] | None = code_of("METHODS", method, plugins)
    faults = [] if card is None else [f"{BELOW_OPTIONS}{fault}" for fault in _card_faults(card, told)]
    if faults:
        raise InvalidInput("\n".join(faults))
    return told


def _card_faults(card: type[Method], options: Mapping[str, Any]) -> list[str]:
    faults = []
    for name, kind in hyperparameters(card).items():
        if name not in options:
            continue
        try:
            kept = TypeAdapter(kind).validate_python(options[name], strict=True)
        except ValidationError as error:
            faults.append(explain(error, (), name))
            continue
        if kept != options[name]:
            faults.append(f"{name}: the plug-in makes {kept!r} of {options[name]!r}; state that")
    return faults or card.faults(options)
