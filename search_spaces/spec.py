"""A spec: the YAML file that describes a sweep. Loaded safely, checked to its last recipe before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from search_spaces.fields import AXIS_FIELDS, with_options_one_by_one
from search_spaces.ranges import Dimension, Search
from trainers.costs.plugged import tell
from trainers.data.data_set import CLASSIFICATION
from trainers.errors import InvalidInput, explain, nearest
from trainers.hashing import content_hash
from trainers.methods.plugged import options_of_plugins
from trainers.plugins.known import VERSION, WORD, PlugIn, is_of_plugin, know, listed
from trainers.readable import counted

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$"  # of a sweep: it names a folder
NotZero = Annotated[int, Field(ge=1)]
Hours = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Limits(BaseModel):
    """The limits on what the whole sweep may spend; None is no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trials: NotZero | None = Field(None, description="trials that this sweep trains; those stored by others are free")
    epochs: NotZero | None = Field(None, description="epochs trained, all stages together")
    device_hours: Hours | None = Field(None, description="hours of training and evaluation, summed over the devices")
    wall_hours: Hours | None = Field(None, description="hours that its launches last, all together")
    flops: Hours | None = Field(None, description="multiply-add FLOPs of training (1 MAC = 2), all stages together")


class Rungs(BaseModel):
    """The epochs at which arms that do badly go no further; all seeds of an arm go on or stop together."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rule: Literal["asha", "synchronous", "stop", "median"] = Field(
        description="asha: arms pause at a rung, and the best 1/reduction of those that have come go on, later ones, "
        "too; synchronous: the same once all have come; stop: an arm goes on if it is among the best 1/reduction as it "
        "comes, else it is stopped for good; median: it is stopped if its best accuracy so far is below the median of "
        "the others' running averages"
    )
    epochs: Annotated[list[NotZero], Field(min_length=1)] = Field(
        description="epochs, counted over the whole trial, at which validation accuracy is judged"
    )
    reduction: Annotated[int, Field(ge=2)] = Field(4, description="one of so many goes on; not for median")
    min_trials: NotZero = Field(
        4,
        description="stop, median: arms that a rung lets pass before it stops one; "
        "asha: arms that have to come to it before one goes on, unless no more will come",
    )
    brackets: NotZero = Field(
        1,
        description="into how many brackets arms are dealt, by lot: each is compared within itself, and each skips one "
        "rung more than the one before (Hyperband)",
    )
    across: bool = Field(
        False, description="whether the cells of the grid that a search has are compared; otherwise each by itself"
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.epochs != sorted(set(self.epochs)):
            raise ValueError(f"rungs.epochs: should ascend, each once, not {self.epochs!r}")
        if self.brackets > len(self.epochs) + 1:
            raise ValueError(
                f"rungs.brackets: {counted(len(self.epochs), 'rung')} can make {len(self.epochs) + 1} at most, the "
                f"last without one, not {self.brackets}"
            )
        if self.brackets > 1 and self.rule == "median":
            raise ValueError("rungs.brackets: median keeps no share of the arms, so leave it out")
        for field, rule in (("reduction", "median"), ("min_trials", "synchronous")):
            if self.rule == rule and field in self.model_fields_set:
                raise ValueError(f"rungs.{field}: {rule} has no such field, so leave it out")
        return self

    def in_bracket(self, bracket: int) -> list[int]:
        """The rungs of a bracket: the first has them all."""
        return self.epochs[bracket:]

    def shares(self) -> list[float]:
        """Which share of the arms each bracket gets, so that each costs about the same (Hyperband, Li et al., 2018).

        Of a bracket with so many rungs: reduction to that power, over one more than they are.
        """
        halvings = [len(self.in_bracket(bracket)) for bracket in range(self.brackets)]
        weights = [self.reduction**number / (number + 1) for number in halvings]
        return [weight / sum(weights) for weight in weights]

    @property
    def pauses(self) -> bool:
        """Whether what is held at a rung may go on later."""
        return self.rule in ("asha", "synchronous")


class PlugInEntry(BaseModel):
    """A plug-in as a spec is kept with it: which one, and what is told of it, so that nobody need import its code."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=f"^{WORD.pattern}$")]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its files")]
    version: Annotated[str, Field(pattern=f"^{VERSION.pattern}$")] | None = None
    facts: dict[str, dict[str, dict[str, Any]]] = {}

    @property
    def plugin(self) -> PlugIn:
        """The same for those who look it up."""
        return PlugIn(self.name, self.digest, self.version or "", self.facts)


class Spec(BaseModel):
    """The spec of one sweep: a base recipe, what varies, the arms beside the grid, and the seeds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=NAME)] = Field(
        description="names the sweep, its folder and its MLflow experiment: letters, digits, '_', '-', '.'"
    )
    description: str = Field("", description="a sentence: recipe family, budget, seeds, and the claim that it tests")
    plugins: list[str | PlugInEntry] = Field(
        [], description="folders, relative to the spec's file, whose methods it uses as FOLDER.NAME"
    )
    costs: list[str] = Field(
        [], description="costs of the plug-ins, as FOLDER.NAME, that are measured of every trial beside the package's"
    )
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
            spec = cls.model_validate(with_options_one_by_one(data))
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
        for plugin in spec.plugins_used():
            know(plugin)
            tell(plugin.name, plugin.facts)
        return spec

    def plugins_used(self) -> list[PlugIn]:
        """Its plug-ins."""
        return [entry.plugin for entry in self.plugins if isinstance(entry, PlugInEntry)]

    def base(self) -> dict[str, Any]:
        """The base recipe, with its costs and with all plug-ins: each recipe keeps those that it needs."""
        listed_beside = {"costs": listed(self.costs), "plugins": listed(plugin.key for plugin in self.plugins_used())}
        return {**self.recipe, **{name: text for name, text in listed_beside.items() if text}}

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


def told_costs(spec: Spec) -> dict[str, Any]:
    """What is told of the plug-ins' costs that a spec asks for, by their whole names."""
    facts = {
        f"{one.name}.{name}": told for one in spec.plugins_used() for name, told in one.facts.get("COSTS", {}).items()
    }
    return {name: facts[name] for name in spec.costs if name in facts}


def told_tasks(spec: Spec) -> dict[str, str]:
    """What the plug-ins' data sets ask, by their whole names; classification goes without saying."""
    named = ((one.name, one.facts.get("DATA_SETS", {})) for one in spec.plugins_used())
    tasks = {f"{plugin}.{name}": str(told["task"]) for plugin, facts in named for name, told in facts.items()}
    return {name: task for name, task in tasks.items() if task != CLASSIFICATION}


def entry_of(plugin: PlugIn) -> PlugInEntry:
    """A plug-in as specs are kept with it."""
    facts = {registry: {name: dict(told) for name, told in named.items()} for registry, named in plugin.facts.items()}
    return PlugInEntry(name=plugin.name, digest=plugin.digest, version=plugin.version or None, facts=facts)


def name_faults(spec: Spec) -> list[str]:
    """A line for every name in the spec that is no field where it stands."""
    names = [entry.name for entry in spec.plugins if isinstance(entry, PlugInEntry)]
    faults = [f"plugins: two are called {name}; a plug-in is called as its folder, so rename one"
              for name in sorted(set(names)) if names.count(name) > 1]  # fmt: skip
    faults += [f"plugins: {entry!r} was not read" for entry in spec.plugins if isinstance(entry, str)]
    faults += [f"costs: {name!r} is no cost of a plug-in, as my_costs.latency is; all of the package are measured"
               for name in spec.costs if not is_of_plugin(name)]  # fmt: skip
    of_axes = (*AXIS_FIELDS, *options_of_plugins(spec.plugins_used()))
    of_recipes = tuple(name for name in of_axes if name != "budget_epochs")
    faults += [*_unknown("recipe", spec.recipe, of_recipes), *_unknown("axes", spec.axes, of_axes)]
    for index, arm in enumerate(spec.arms):
        faults += _unknown(f"arms[{index}]", arm, of_axes)
    for index, rule in enumerate(spec.exclude):
        faults += _unknown(f"exclude[{index}]", rule, of_axes)
        if not rule:
            faults.append(f"exclude[{index}]: an empty rule would leave out the whole grid")
    faults += _search_faults(spec, of_axes)
    for field, value in spec.recipe.items():
        if isinstance(value, list):
            faults.append(f"recipe.{field}: one value, not the list {value!r} (lists go under axes)")
        if isinstance(value, str) and "," in value:
            faults.append(f"recipe.{field}: one value, not {value!r} (lists go under axes, in brackets: [{value}])")
    for index, arm in enumerate(spec.arms):
        faults += [f"arms[{index}].{field}: an empty list" for field, value in arm.items() if value == []]
    return faults


def _search_faults(spec: Spec, known: tuple[str, ...]) -> list[str]:
    if spec.search is None:
        return []
    space, costs = spec.search.space, told_costs(spec)
    faults = [f"search.objectives: {goal} is no cost of a plug-in that the spec lists, as in costs: [{goal}]"
              for goal in spec.search.objectives if is_of_plugin(goal) and goal not in costs]  # fmt: skip
    faults += [f"search.objectives: {goal} is not known on every machine (everywhere=False), as a search needs it"
               for goal in spec.search.objectives if goal in costs and not costs[goal]["everywhere"]]  # fmt: skip
    faults += _unknown("search.space", space, known)
    for name, dimension in space.items():
        faults += _unknown(f"search.space.{name}.when", dimension.when, known)
    axes = {**spec.axes, **({"slot_epochs": spec.slot_epochs} if spec.slot_epochs is not None else {})}
    faults += [
        f"search.space.{name}: it is an axis of the grid, too; a field is either searched or an axis"
        for name in space
        if name in axes
    ]
    return faults


def _unknown(where: str, names: Iterable[str], known: tuple[str, ...]) -> list[str]:
    faults = []
    for name in names:
        if name == "seed":
            faults.append(f"{where}.seed: the seeds of a sweep go into seeds")
        elif name in ("epochs", "budget_epochs") and name not in known and "budget_epochs" not in known:
            meant = " (did you mean budget_epochs?)" if name == "epochs" else ""
            faults.append(f"{where}.{name}: no field of a recipe{meant}; budget_epochs stands beside {where}")
        elif name not in known:
            faults.append(f"{where}.{name}: unknown field{nearest(name, known)}")
    return faults
