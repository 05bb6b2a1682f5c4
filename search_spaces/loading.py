"""Specs by their path or bundled name, with overrides, checked to the last recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from search_spaces.expansion import expand, pruned
from search_spaces.overrides import apply_override, rescale
from search_spaces.ranges import Search
from search_spaces.spec import Limits, Rungs, Spec
from search_spaces.yaml_reader import read_yaml
from trainers.errors import InvalidInput, nearest

# From a plug-in's folder to what a spec is kept with (`search_spaces.spec.PlugInEntry`). It may run the plug-in's code.
PlugInReader = Callable[[Path], dict[str, Any]]


def refused(folder: Path | str) -> dict[str, Any]:
    """For whoever is not to run code from a spec. Raises InvalidInput."""
    raise InvalidInput(f"plugins: {folder} holds code, which only sweeper plan and launch read, of one spec")


def bundled_specs() -> list[str]:
    """The names of the specs that come with this package."""
    return _bundled("specs")


def bundled_chains() -> list[str]:
    """The names of the chains that come with this package."""
    return _bundled("chains")


def _bundled(folder: str) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in files("search_spaces").joinpath(folder).iterdir()
                  if entry.name.endswith(".yaml"))  # fmt: skip


def load_spec(name_or_path: str, overrides: Sequence[str] = (), read_plugin: PlugInReader = refused) -> Spec:
    """The spec in a file, or the bundled one of that name, with `field=value` overrides applied; every recipe checked.

    An override may name a field of the spec (`seeds=[0]`), one below it (`recipe.batch_size=64`, `axes.options=[2, 8]`,
    `limits.epochs=100`) or a recipe field alone: one value goes into the base recipe and, where the field is an axis,
    replaces the axis; a list becomes the axis. Exceptions that arms state stay. With `budget_epochs` the splits scale
    (`search_spaces.overrides`). Plug-ins are read by `read_plugin`, by their paths. Raises InvalidInput.
    """
    text, label = read_spec_text(name_or_path)
    beside = Path(name_or_path).parent if is_path(name_or_path) else None
    return spec_of(text, label, overrides, lambda path: read_plugin(plugin_folder(path, beside)))


def plugin_folder(path: str, beside: Path | None) -> Path:
    """The folder of a plug-in that a spec beside it names."""
    if beside is None:
        raise InvalidInput(f"plugins: {path}: a bundled spec has none")
    if "://" in path:
        raise InvalidInput(f"plugins: {path} is an address; a plug-in is a folder, such as ./my_methods")
    return beside / path


def spec_of(
    text: str, label: str, overrides: Sequence[str] = (), read_plugin: Callable[[str], dict[str, Any]] = refused
) -> Spec:
    """The spec in this text, as `load_spec` has it; `label` names it in messages."""
    where = f"{label}: "
    try:
        data = read_yaml(text)
    except InvalidInput as error:
        raise InvalidInput(f"{where}{error}") from None
    if isinstance(data, dict) and "sweeps" in data and "recipe" not in data:
        raise InvalidInput(f"{where}it is a chain of sweeps, which plan, launch and report take, and no spec")
    if isinstance(data, dict) and isinstance(data.get("plugins"), list):
        data["plugins"] = [read_plugin(one) if isinstance(one, str) else one for one in data["plugins"]]
    touched: set[str] = set()
    sections = {"limits": [*Limits.model_fields], "rungs": [*Rungs.model_fields], "search": [*Search.model_fields]}
    if overrides:
        data = Spec.parse(data, where).model_dump(exclude_unset=True)
        stated = data.get("budget_epochs")
        for override in overrides:
            touched |= apply_override(data, override, Spec.model_fields, sections)
        if "budget_epochs" in touched:
            rescale(data, stated, touched)
    spec = Spec.parse(data, where)
    try:
        if overrides:
            spec = pruned(spec, touched)
        expand(spec)
    except InvalidInput as error:
        raise InvalidInput("\n".join(where + line for line in str(error).split("\n"))) from None
    return spec


def check_limits_only(overrides: Sequence[str]) -> None:
    """Raises InvalidInput where these overrides change more than limits, which would make another sweep."""
    fields = ", ".join(f"limits.{name}" for name in Limits.model_fields)
    for override in overrides:
        if not override.startswith("limits."):
            raise InvalidInput(
                f"--set {override}: a sweep goes on with other limits at most ({fields}). "
                "To change more, launch its spec"
            )


def is_path(name_or_path: str) -> bool:
    """Whether this is a path to a file, not the name of a bundled spec."""
    path = Path(name_or_path)
    return path.suffix in (".yaml", ".yml") or path.parent != Path(".")


def read_spec_text(name_or_path: str) -> tuple[str, str]:
    """The text of a spec or a chain, and its name in messages. Raises InvalidInput."""
    path = Path(name_or_path)
    if not is_path(name_or_path):
        names = [*bundled_specs(), *bundled_chains()]
        if name_or_path not in names:
            raise InvalidInput(
                f"spec: {name_or_path!r} is not a bundled spec{nearest(name_or_path, names)}; the bundled ones are "
                f"{', '.join(names)}; a file is named by its path, such as ./{name_or_path}.yaml"
            )
        folder = "specs" if name_or_path in bundled_specs() else "chains"
        source = files("search_spaces").joinpath(folder, f"{name_or_path}.yaml")
        return source.read_text(encoding="utf-8"), f"{name_or_path}.yaml"
    try:
        return path.read_bytes().decode("utf-8"), path.name
    except UnicodeDecodeError as error:
        raise InvalidInput(f"spec: {name_or_path} is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise InvalidInput(f"spec: cannot read {name_or_path}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidInput(f"spec: cannot read {name_or_path!r}: {error}") from None
