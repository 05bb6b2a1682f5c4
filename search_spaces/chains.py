"""A chain: a YAML file that lists sweeps to launch one after the other, and what they all share by `set`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from search_spaces.loading import PlugInReader, is_path, load_spec, read_spec_text, refused
from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from trainers.errors import InvalidInput, explain


class Chain(BaseModel):
    """A list of sweeps in order, by names of bundled specs or paths from the chain's own folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")] = Field(
        description="names the chain: letters, digits, '_', '-', '.'"
    )
    description: str = Field("", description="a sentence: what its sweeps answer together")
    sweeps: Annotated[list[str], Field(min_length=1)] = Field(
        description="bundled specs by name, or files by their path from this one"
    )
    set: list[str] = Field([], description="`field=value`, as after --set; each must mean something to every sweep")

    def sweep_names(self) -> list[str]:
        """The names of the sweeps: of bundled ones as listed, of others as their files say."""
        return [_stated_name(sweep) if is_path(sweep) else sweep for sweep in self.sweeps]


@dataclass(frozen=True)
class Linked:
    """A chain with its specs, each with every override that applies to it."""

    chain: Chain
    specs: list[Spec]
    notes: list[str]  # which overrides were left out where, and why


def load_chain(name_or_path: str, overrides: Sequence[str] = (), read_plugin: PlugInReader = refused) -> Linked | None:
    """The chain of this name or in this file with its specs; None for a file that is a single spec.

    An override goes to every sweep that can have it; one that none can have is a fault. Plug-ins of its specs are read
    by `read_plugin`. Raises InvalidInput.
    """
    chain = read_chain(name_or_path)
    if chain is None:
        return None
    paths = chain.sweeps
    taken: dict[str, list[str]] = {path: list(chain.set) for path in paths}
    specs = {path: load_spec(path, taken[path], read_plugin) for path in paths}
    notes: list[str] = []
    for override in overrides:
        unfit: dict[str, InvalidInput] = {}
        for path in paths:
            try:
                specs[path] = load_spec(path, [*taken[path], override], read_plugin)
            except InvalidInput as error:
                unfit[path] = error
            else:
                taken[path].append(override)
        if len(unfit) == len(paths):
            raise next(iter(unfit.values()))
        notes += [f"{specs[path].name} goes without --set {override} ({error})" for path, error in unfit.items()]
    _check_names(chain, [specs[path].name for path in paths])
    return Linked(chain, [specs[path] for path in paths], notes)


def read_chain(name_or_path: str) -> Chain | None:
    """The chain, with paths from the current folder; None for a single spec, or no YAML. Raises InvalidInput."""
    text, label = read_spec_text(name_or_path)
    try:
        data: Any = read_yaml(text)
    except InvalidInput:
        return None  # `load_spec` says what is wrong with it
    if not isinstance(data, dict) or "sweeps" not in data:
        return None
    try:
        chain = Chain.model_validate(data)
    except ValidationError as error:
        raise InvalidInput(explain(error, Chain.model_fields, f"{label}: ")) from None
    folder = Path(name_or_path).parent if is_path(name_or_path) else Path()
    return chain.model_copy(update={"sweeps": [str(folder / name) if is_path(name) else name for name in chain.sweeps]})


def _stated_name(path: str) -> str:
    """What a spec's file calls its sweep; nothing of its plug-ins is read for that. Raises InvalidInput."""
    text, label = read_spec_text(path)
    data: Any = read_yaml(text)
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise InvalidInput(f"{label}: it is no spec with a name")
    return str(data["name"])


def _check_names(chain: Chain, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidInput(f"{chain.name}: sweeps: {', '.join(twice)} is there more than once")
