"""The JSON Schema of a spec, by which editors complete and check it as it is written."""

from __future__ import annotations

from typing import Any

from search_spaces.fields import AXIS_FIELDS, RECIPE_FIELDS
from search_spaces.ranges import KINDS
from search_spaces.spec import Spec
from trainers.recipe.choices import PHASES
from trainers.recipe.recipe import Recipe

# Of a plug-in's method, which its code checks: method_options.threshold: 0.7, or method_options: {threshold: 0.7}.
OPTIONS = {r"^method_options(\.[a-z][a-z0-9_]*)?$": {"description": "the options of a plug-in's method"}}
# What the recipe itself leaves to its field's name.
_MEANINGS = {
    "network": "the network that is trained",
    "dataset": "the data that it is trained on",
    "method": "how its weights are found",
    "batch_size": "images a step",
}


def spec_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of a spec file. What it lets through, `load_spec` checks further."""
    spec = Spec.model_json_schema()
    spec["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    spec["description"] = "A sweep: a base recipe, what varies, the arms beside the grid, and the seeds."
    fields = _recipe_fields()
    one = {name: fields[name] for name in RECIPE_FIELDS}
    listed = {name: {"type": "array", "items": fields[name], "minItems": 1} for name in AXIS_FIELDS}
    either = {name: {"anyOf": [fields[name], listed[name]]} for name in AXIS_FIELDS}
    properties = spec["properties"]
    properties["recipe"] |= _closed(one)
    properties["axes"] |= _closed({name: listed[name] | _described(fields[name]) for name in AXIS_FIELDS})
    exceptions = {name: either[name] | _described(fields[name]) for name in AXIS_FIELDS}
    properties["arms"]["items"] = _closed(exceptions)
    properties["exclude"]["items"] = _closed(exceptions) | {"minProperties": 1}
    properties["search"] = _optional(properties["search"])
    properties["rungs"] = _optional(properties["rungs"])
    _complete_space(spec["$defs"], either, fields)
    splits = properties["slot_epochs"]
    splits["anyOf"] = [{"type": "integer", "minimum": 0}, *splits["anyOf"]]
    properties["seeds"]["anyOf"] = [
        {"type": "integer", "minimum": 1},
        {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1, "uniqueItems": True},
    ]
    return spec


def _recipe_fields() -> dict[str, dict[str, Any]]:
    """Every field that a recipe or an axis may have, with its description."""
    fields: dict[str, dict[str, Any]] = dict(Recipe.model_json_schema()["properties"])
    fields["budget_epochs"] = {
        "type": "integer",
        "minimum": 1,
        "description": "total of epochs, where arms differ in it",
    }
    for name in AXIS_FIELDS:
        fields[name] = {key: value for key, value in fields[name].items() if key not in ("title", "default")}
        fields[name].setdefault("description", _meaning(name))
    return {name: fields[name] for name in AXIS_FIELDS}


def _meaning(name: str) -> str:
    if name in _MEANINGS:
        return _MEANINGS[name]
    for phase in PHASES:
        if name.startswith(f"{phase}_"):
            return f"{name.removeprefix(f'{phase}_').replace('_', ' ')} of the {phase} phase"
    return name.replace("_", " ")


def _optional(field: dict[str, Any]) -> dict[str, Any]:
    """A section that may be left out: editors need not offer null."""
    kept = next(kind for kind in field["anyOf"] if kind != {"type": "null"})
    return {**kept, "description": field["description"]}


def _complete_space(definitions: dict[str, Any], either: dict[str, Any], fields: dict[str, Any]) -> None:
    """Of a searched field: what it is, exactly one kind of range, and choices that the field may have."""
    dimension = definitions["Dimension"]
    kinds = dimension["properties"]
    for kind in KINDS:
        kinds[kind] = _optional(kinds[kind])
        if kind != "choice":
            kinds[kind] |= {"minItems": 2, "maxItems": 2}
    kinds["step"] = _optional(kinds["step"])
    kinds["when"] |= _closed(either)
    dimension["oneOf"] = [{"required": [kind]} for kind in KINDS]
    space = {}
    for name in AXIS_FIELDS:
        choices = {"properties": {"choice": {"type": "array", "items": fields[name], "minItems": 1}}}
        space[name] = {"allOf": [{"$ref": "#/$defs/Dimension"}, choices]} | _described(fields[name])
    definitions["Search"]["properties"]["space"] |= _closed(space)


def _closed(fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "patternProperties": OPTIONS, "additionalProperties": False}


def _described(field: dict[str, Any]) -> dict[str, Any]:
    return {"description": field["description"]}
