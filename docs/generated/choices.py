"""The page of choices: methods, networks, data sets, presets, the fields of a recipe, and the bundled specs."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, get_args

from search_spaces.chains import Chain
from search_spaces.expansion import expand, searches
from search_spaces.json_schema import spec_schema
from search_spaces.loading import bundled_chains, bundled_specs, load_spec
from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from sweeper.stages.planting import plant
from trainers.data.registry import DATA_SETS
from trainers.methods.registry import METHODS
from trainers.networks.registry import NETWORKS
from trainers.recipe.choices import Preset
from trainers.recipe.recipe import Recipe

MUST_BE_SAID = "*must be said*"
EXAMPLE = {"network": "lenet", "dataset": "mnist"}  # what the tables of presets are of


def methods() -> str:
    """Every method: what it does, and the fields of a recipe that it alone, or it among others, has."""
    rows = [(f"`{name}`", said(method), codes(own_fields()[name])) for name, method in METHODS.items()]
    return table(("method", "is", "its fields"), rows)


def networks() -> str:
    """Every network: what it is, and the fields of a recipe that shape it."""
    rows = [
        (
            f"`{name}`",
            said(network.build),
            codes(network.fields),
            ", ".join(f"{side} (padding {padding})" for padding, side in network.smallest_sides.items()),
        )
        for name, network in NETWORKS.items()
    ]
    return table(("network", "is", "shaped by", "fewest pixels a side"), rows)


def data_sets() -> str:
    """Every data set that fits into memory, with its sizes."""
    rows = [
        (
            f"`{name}`",
            " × ".join(str(size) for size in data.input_shape),
            str(data.classes),
            f"{data.train_examples:,}",
            f"{data.test_examples:,}",
            "comes with scikit-learn" if data.installed is not None else "by torchvision, every file verified",
        )
        for name, data in DATA_SETS.items()
    ]
    heads = ("data set", "channels × pixels", "classes", "training and validation", "test", "download")
    return table(heads, rows)


def presets() -> str:
    """For every method what each preset fills into a recipe that states nothing else, for Lenet on MNIST."""
    parts = []
    for method in METHODS:
        filled = {name: _filled(method, name) for name in get_args(Preset)}
        fields = [field for field in Recipe.model_fields if any(field in values for values in filled.values())]
        rows = [
            (f"`{field}`", *(literal(values.get(field)) for values in filled.values()))
            for field in fields
            if field != "preset"
        ]
        parts.append(f"### {method}\n\n" + table(("field", *(f"`{name}`" for name in filled)), rows))
    return "\n\n".join(parts)


def recipe_fields() -> str:
    """Every field of a recipe, in the order in which it is declared: what it may be, its default, who has it."""
    owners = {field: [name for name, own in own_fields().items() if field in own] for field in Recipe.model_fields}
    filled = {field for method in METHODS for preset in get_args(Preset) for field in _filled(method, preset)}
    described = spec_schema()["properties"]["recipe"]["properties"]
    rows = []
    for name, schema in Recipe.model_json_schema()["properties"].items():
        default = "by the preset" if name in filled - {"preset"} else literal(schema.get("default", MUST_BE_SAID))
        meaning = schema.get("description") or described.get(name, {}).get("description", "")
        rows.append((f"`{name}`", rule(schema), default, codes(owners[name]) or "all", meaning))
    return table(("field", "may be", "default", "of", "meaning"), rows)


def specs() -> str:
    """Every bundled spec: what it says of itself, what it trains, and its file."""
    parts = [
        table(("spec", "trials", "epochs alone", "with shared stages"), [_counted(name) for name in bundled_specs()])
    ]
    for name in bundled_specs():
        text = _bundled("specs", name).strip()
        parts.append(f"### {name}\n\n{load_spec(name).description}\n\n```yaml\n{text}\n```")
    return "\n\n".join(parts)


def chains() -> str:
    """Every bundled chain: what it says of itself, and its sweeps in their order."""
    rows = []
    for name in bundled_chains():
        chain = Chain.model_validate(read_yaml(_bundled("chains", name)))
        rows.append((f"`{name}`", chain.description, codes(chain.sweeps)))
    return table(("chain", "is", "its sweeps"), rows)


def _bundled(folder: str, name: str) -> str:
    return files("search_spaces").joinpath(folder, f"{name}.yaml").read_text(encoding="utf-8")


def _counted(name: str) -> tuple[str, ...]:
    """A line on a spec: trials and epochs of what can be counted before it runs; a search has points besides."""
    spec = load_spec(name)
    recipes = expand(spec)
    planted = plant(recipes, {recipe.dataset: "any" for recipe in recipes})
    trials = [f"{len(recipes):,}"] if recipes else []
    trials += [_searched(spec)] if spec.search else []
    epochs = (f"{planted.epochs_alone:,}", f"{planted.epochs_shared:,}") if recipes else ("", "")
    return (f"[`{name}`](#{anchor(name)})", " and ".join(trials), *epochs)


def _searched(spec: Spec) -> str:
    cells = len(searches(spec))
    points = f"a search of {spec.search.trials} points" if spec.search else ""
    return f"{points} in each of {cells} cells" if cells > 1 else points


def _filled(method: str, preset: str) -> dict[str, Any]:
    recipe = Recipe.complete({**EXAMPLE, "method": method, "preset": preset})
    return {field: getattr(recipe, field) for field in recipe.filled}


@cache
def own_fields() -> dict[str, list[str]]:
    """For every method those of a recipe's fields that it has and some other method has not."""
    had = {
        name: {
            field
            for preset in get_args(Preset)
            for start in ({}, {"start": "random_option"} if name == "learned" else {})
            for field, value in Recipe.complete({**EXAMPLE, "method": name, "preset": preset, **start})
            if value is not None and not field.startswith(("slot_", "finetune_"))
        }
        for name in METHODS
    }
    shared = set.intersection(*had.values())
    return {name: [field for field in Recipe.model_fields if field in fields - shared] for name, fields in had.items()}


def said(thing: Any) -> str:
    """The first sentence or more of what it says of itself: its docstring up to an empty line."""
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    if not text:
        raise ValueError(f"{thing!r} has no docstring, and the page of choices shows it")
    return text


def rule(schema: dict[str, Any]) -> str:
    """What a field may be, in words, from its JSON Schema."""
    kinds = [kind for kind in schema.get("anyOf", [schema]) if kind.get("type") != "null"]
    return " or ".join(_kind(kind) for kind in kinds)


def _kind(kind: dict[str, Any]) -> str:
    values = kind.get("enum", [kind["const"]] if "const" in kind else [])
    if values:
        return ", ".join(literal(value) for value in values)
    words = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "string": "text"}
    bounds = {"minimum": "from {}", "exclusiveMinimum": "above {}", "maximum": "to {}", "exclusiveMaximum": "below {}"}
    said = [
        text.format(f"{kind[name]:,}" if kind[name] < 2**63 else "2⁶³") for name, text in bounds.items() if name in kind
    ]
    return " ".join([words.get(kind.get("type", ""), "list of names"), *said])


def literal(value: Any) -> str:
    """A value as a spec writes it."""
    if value is None:
        return ""
    if value == MUST_BE_SAID:
        return value
    if isinstance(value, list | tuple):
        return codes(value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def codes(names: Iterable[Any]) -> str:
    """The names in the letters of code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names)


def anchor(heading: str) -> str:
    """Where a heading of one word can be linked to."""
    return heading.lower()


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
