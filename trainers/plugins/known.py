"""The plug-ins that this process knows: what is told of each in plain data, and the code of those that were imported.

A plug-in is a folder; what it brings is named after it, `my_methods.ternary`. What plans, labels and reports need of it
is told in plain data (its facts), which stand in a sweep's spec, so that only those who train import its code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.errors import InvalidInput, nearest

# Its registries, and the recipe's fields.
KINDS = {"METHODS": "method", "NETWORKS": "network", "DATA_SETS": "dataset", "COSTS": "costs"}
SHOWN = 8  # digits of a digest, for people
WORD = re.compile(r"[a-z][a-z0-9_]{0,39}")
VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_NAME = re.compile(rf"({WORD.pattern})\.({WORD.pattern})")
_BETWEEN = ", "

Facts = Mapping[str, Mapping[str, Mapping[str, Any]]]  # by registry, then by name in it


@dataclass(frozen=True)
class PlugIn:
    """One state of a plug-in's folder."""

    name: str
    digest: str  # SHA-256 (hex) of its files
    version: str = ""  # which its author says decides results in place of the digest
    facts: Facts = field(default_factory=dict)

    @property
    def key(self) -> str:
        """What recipes have of it, and so what results are kept by: 'my_methods@<digest>', 'my_methods version 1'."""
        return f"{self.name} version {self.version}" if self.version else f"{self.name}@{self.digest}"


@dataclass(frozen=True)
class Code:
    """What was imported of a plug-in."""

    digest: str
    registries: Mapping[str, Mapping[str, Any]]


_known: dict[str, PlugIn] = {}
_code: dict[str, Code] = {}


def know(plugin: PlugIn) -> None:
    """Lets recipes use what a plug-in brings, as far as its facts go."""
    _known[plugin.key] = plugin


def know_code(plugin: PlugIn, registries: Mapping[str, Mapping[str, Any]]) -> None:
    """Lets this process train with a plug-in; of two digests under one version, with this one from now on."""
    know(plugin)
    _code[plugin.key] = Code(plugin.digest, registries)


def has_code(key: str, digest: str) -> bool:
    """Whether this very state of a plug-in was imported."""
    return key in _code and _code[key].digest == digest


def known_plugin(key: str) -> PlugIn | None:
    """The plug-in with this key, as it was told last."""
    return _known.get(key)


def is_of_plugin(name: object) -> bool:
    """Whether a method, network, data set or cost of this name can only be a plug-in's."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def keys_in(plugins: object) -> list[str]:
    """The keys that a recipe's field `plugins` lists."""
    return split(plugins)


def split(text: object) -> list[str]:
    """What a recipe's field lists, of those that `listed` wrote."""
    return text.split(_BETWEEN) if isinstance(text, str) and text else []


def listed(keys: Iterable[str]) -> str | None:
    """Keys, or the names of costs, as recipes have them; None where there is none."""
    return _BETWEEN.join(sorted(set(keys))) or None


def name_in(key: str) -> str:
    """The plug-in's name, of a key: 'my_methods'."""
    return re.split("[@ ]", key, maxsplit=1)[0]


def short(key: str) -> str:
    """The key for people: 'my_methods@3f9a1b2c', 'my_methods version 1'."""
    name, at, digest = key.partition("@")
    return f"{name}{at}{digest[:SHOWN]}"


def key_of(name: str, plugins: object) -> str | None:
    """The key of the plug-in that something is of, among those that a recipe's field lists."""
    return next((key for key in keys_in(plugins) if name_in(key) == name.partition(".")[0]), None)


def facts_of(registry: str, name: str, plugins: object) -> Mapping[str, Any] | None:
    """What is told of something that a plug-in brings; None where this process was told nothing of it."""
    plugin = _known.get(key_of(name, plugins) or "")
    return plugin.facts.get(registry, {}).get(name.partition(".")[2]) if plugin else None


def is_told(registry: str, name: str, plugins: object) -> bool:
    """Whether this process was told of something that a plug-in brings, or has imported it."""
    return facts_of(registry, name, plugins) is not None or code_of(registry, name, plugins) is not None


def code_of(registry: str, name: str, plugins: object) -> Any:
    """What a plug-in registers under this name; None where it was not imported."""
    code = _code.get(key_of(name, plugins) or "")
    return code.registries.get(registry, {}).get(name.partition(".")[2]) if code else None


def name_fault(registry: str, name: str, plugins: object) -> str:
    """What is wrong with the name of something that a plug-in is to bring, as `field: rule, value`; empty: nothing."""
    field, own = KINDS[registry], name.partition(".")[0]
    key = key_of(name, plugins)
    if key is None:
        named = [name_in(one) for one in keys_in(plugins)]
        there = f"; the plug-ins here are {', '.join(named)}{nearest(own, named)}" if named else ""
        return f"{field}: {name!r} is of a plug-in that the spec does not name, as in plugins: [./{own}]{there}"
    plugin = _known.get(key)
    brought = [f"{own}.{one}" for one in (plugin.facts.get(registry, {}) if plugin else ())]
    if plugin is None or name in brought:
        return ""
    return f"{field}: {name!r} is not one of {', '.join(brought) or 'what the plug-in brings'}{nearest(name, brought)}"


def needs_code(recipe_plugins: object) -> InvalidInput:
    """The error where something is to be trained or loaded and the plug-ins that it needs were not imported."""
    return InvalidInput(
        f"plugins: it needs the code of {' and '.join(map(short, keys_in(recipe_plugins)))}, which was not imported "
        "(sweeper.use_plugin imports a folder)"
    )
