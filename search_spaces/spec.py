"""A spec: the YAML file that describes a sweep. Loaded safely, checked to its last recipe before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from search_spaces.budgets import rescale
from search_spaces.expansion import expand, pruned
from search_spaces.labels import arm_label, arm_labels
from search_spaces.names import AXIS_FIELDS, name_faults
from search_spaces.overrides import apply_override
from search_spaces.search import Dimension, Search
from search_spaces.yaml_text import read_yaml
from trainers.recipe import content_hash
from trainers.validation import InvalidInput, explain, nearest

__all__ = ["AXIS_FIELDS", "Limits", "Rungs", "Spec", "arm_label", "arm_labels", "bundled_specs", "expand", "load_spec"]

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"  # of a sweep: it names a folder
NotZero = Annotated[int, Field(ge=1)]
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """What the whole sweep may spend; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trials: NotZero | None = Field(None, description="trials that this sweep trains; those stored by others are free")
    epochs: NotZero | None = Field(None, description="epochs trained, all stages together")
    device_hours: Hours | None = Field(None, description="hours of training and evaluation, summed over the devices")
    wall_hours: Hours | None = Field(None, description="hours that its launches last, all together")
    flops: Hours | None = Field(None, description="multiply-add FLOPs of training (1 MAC = 2), all stages together")


class Rungs(BaseModel):
    """Epochs at which an arm that does badly is stopped; all its seeds go on or stop together."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rule: Literal["asha", "median"] = Field(
        description="asha: the best 1/reduction of the arms that came to the rung go on; "
        "median: those whose best accuracy so far is not below the median of the others' running averages"
    )
    epochs: Annotated[list[NotZero], Field(min_length=1)] = Field(
        description="epochs, counted over the whole trial, at which validation accuracy is judged"
    )
    reduction: Annotated[int, Field(ge=2)] = Field(4, description="asha: one of so many goes on")
    min_trials: NotZero = Field(4, description="arms that a rung lets pass before it stops one")

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.epochs != sorted(set(self.epochs)):
            raise ValueError(f"rungs.epochs: should ascend, each once, not {self.epochs!r}")
        if self.rule != "asha" and "reduction" in self.model_fields_set:
            raise ValueError(f"rungs.reduction: {self.rule} has no such field, so leave it out")
        return self


class Spec(BaseModel):
    """One sweep: a base recipe, what varies, the arms beside the grid, and the seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=NAME)] = Field(
        description="names the sweep, its folder and its MLflow experiment: letters, digits, '_', '-', '.'"
    )
    description: str = Field("", description="a sentence: recipe family, budget, seeds, and the claim that it tests")
    recipe: dict[str, Any] = Field(description="the base recipe; what it leaves out is filled from its preset")
    budget_epochs: NotZero | None = Field(
        None, description="epochs of every trial: finetune_epochs is this less slot_epochs"
    )
    slot_epochs: list[Annotated[int, Field(ge=0)]] | None = Field(
        None, min_length=1, description="the splits: a trial for each, for methods with a slot phase"
    )
    axes: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        {}, description="recipe fields and their values; the grid is their product"
    )
    exclude: list[dict[str, Any]] = Field(
        [], description="cells of the grid to leave out: a value, or a list of values, for some fields"
    )
    arms: list[dict[str, Any]] = Field(
        [], description="arms beside the grid, as exceptions to the base recipe; a list makes an axis of this arm alone"
    )
    search: Search | None = Field(
        None,
        description="ranges to search instead of the grid's own trials: every cell of the grid (axes and slot_epochs; "
        "without them, the base recipe) is searched by itself; arms stay as they are, beside it",
    )
    seeds: int | list[int] = Field(1, description="how many, counted from 0, or which")
    budgets_differ: bool = Field(False, description="say true where arms may differ in their total of epochs")
    rungs: Rungs | None = Field(None, description="where arms that do badly are stopped early")
    limits: Limits = Field(Limits(), description="what the whole sweep may spend, over all its launches")

    @field_validator("slot_epochs", mode="before")
    @classmethod
    def _one_split(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("seeds", mode="before")
    @classmethod
    def _seeds(cls, value: Any) -> Any:
        listed = value if isinstance(value, list) else [value]
        if not listed or any(isinstance(seed, bool) or not isinstance(seed, int) for seed in listed):
            raise ValueError(f"seeds: a number of seeds or a list of seeds, not {value!r}")
        if not isinstance(value, list) and not 1 <= value <= 100_000:
            raise ValueError(f"seeds: from 1 to 100000 seeds, not {value}")
        for seed in listed:
            if not 0 <= seed < 2**63:
                raise ValueError(f"seeds: a seed is from 0 to 2**63 - 1, not {seed}")
            if listed.count(seed) > 1:
                raise ValueError(f"seeds: {seed} is listed twice")
        return value

    @classmethod
    def parse(cls, data: Any, where: str = "") -> Self:
        """The spec that `data` (from YAML) describes; its recipes are not built yet. Raises InvalidInput.

        `where` (a file's name, say) goes before every fault.
        """
        if not isinstance(data, dict):
            raise InvalidInput(f"{where}a spec is a mapping of fields such as name, recipe, axes; this is {data!r}")
        try:
            spec = cls.model_validate(data)
        except ValidationError as error:
            known = [name for model in (cls, Limits, Rungs, Search, Dimension) for name in model.model_fields]
            misplaced = {
                name: f"a field of recipes, so it goes below {'axes, which has lists' if many else 'recipe'}"
                for name, many in ((name, isinstance(data.get(name), list)) for name in AXIS_FIELDS)
            }
            raise InvalidInput(explain(error, known, where, misplaced)) from None
        faults = name_faults(spec)
        if faults:
            raise InvalidInput("\n".join(where + fault for fault in faults))
        return spec

    def seed_list(self) -> list[int]:
        """The seeds, one by one."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else list(self.seeds)

    def varied_fields(self) -> list[str]:
        """The recipe's fields in which trials may differ, seeds aside, as the spec names them."""
        splits = ["slot_epochs"] if len(self.slot_epochs or ()) > 1 else []
        searched = list(self.search.space) if self.search else []
        axes = [name for name, values in self.axes.items() if len(values) > 1]  # --set may have left one value
        return list(dict.fromkeys([*axes, *splits, *searched, *(name for arm in self.arms for name in arm)]))

    def to_yaml(self) -> str:
        """This spec as YAML that `load_spec` reads back."""
        fields = self.model_dump(mode="json", exclude_defaults=True)
        return str(yaml.safe_dump(fields, sort_keys=False, allow_unicode=True, width=120))

    def content_hash(self) -> str:
        """SHA-256 (hex) of all that it says."""
        return content_hash(self.model_dump(mode="json", exclude_defaults=True))


def bundled_specs() -> list[str]:
    """The names of the specs that come with this package."""
    return _bundled("specs")


def bundled_chains() -> list[str]:
    """The names of the chains that come with this package."""
    return _bundled("chains")


def _bundled(folder: str) -> list[str]:
    return sorted(entry.name.removesuffix(".yaml") for entry in files("search_spaces").joinpath(folder).iterdir()
                  if entry.name.endswith(".yaml"))  # fmt: skip


def load_spec(name_or_path: str, overrides: Sequence[str] = ()) -> Spec:
    """The spec in a file, or the bundled one of that name, with `field=value` overrides applied; every recipe checked.

    An override may name a field of the spec (`seeds=[0]`), one below it (`recipe.batch_size=64`, `axes.options=[2, 8]`,
    `limits.epochs=100`) or a recipe field alone: one value goes into the base recipe and, where the field is an axis,
    replaces the axis; a list becomes the axis. Exceptions that arms state stay. With `budget_epochs` the splits scale
    (`search_spaces.budgets`). Raises InvalidInput.
    """
    return spec_of(*read_spec_text(name_or_path), overrides)


def spec_of(text: str, label: str, overrides: Sequence[str] = ()) -> Spec:
    """The same of a spec's text; `label` is what to call it in messages."""
    where = f"{label}: "
    try:
        data = read_yaml(text)
    except InvalidInput as error:
        raise InvalidInput(f"{where}{error}") from None
    if isinstance(data, dict) and "sweeps" in data and "recipe" not in data:
        raise InvalidInput(f"{where}it is a chain of sweeps, which plan, launch and report take, and no spec")
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
    """Raises InvalidInput where these change more than limits, and so would make another sweep of it."""
    fields = ", ".join(f"limits.{name}" for name in Limits.model_fields)
    for override in overrides:
        if not override.startswith("limits."):
            raise InvalidInput(
                f"--set {override}: a sweep goes on with other limits at most ({fields}). "
                "To change more, launch its spec"
            )


def is_path(name_or_path: str) -> bool:
    """Whether this names a file; otherwise it is the name of a bundled spec."""
    path = Path(name_or_path)
    return path.suffix in (".yaml", ".yml") or path.parent != Path(".")


def read_spec_text(name_or_path: str) -> tuple[str, str]:
    """The text of a spec or a chain and what to call it in messages. Raises InvalidInput."""
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
