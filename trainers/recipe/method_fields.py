"""The fields that recipes have from the cards of the methods."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import Field
from pydantic.fields import FieldInfo

from trainers.methods.card import Method
from trainers.methods.registry import METHODS


def method_fields(methods: Mapping[str, type[Method]]) -> dict[str, Any]:
    """A field for each hyperparameter of any method, absent by default, as `pydantic.create_model` takes them.

    Where several methods have a hyperparameter of one name, a recipe may have whatever one of them allows. Raises
    TypeError where their kinds cannot be brought together.
    """
    kinds: dict[str, Any] = {}
    descriptions: dict[str, list[str]] = {}
    for method, card in methods.items():
        for name, kind in hyperparameters(card).items():
            bare, description = _without_description(kind)
            if description is None:
                raise TypeError(f"{method}.{name}: its kind has no description, as Annotated[…, Field(description=…)]")
            kinds[name] = _together(f"{method}.{name}", kinds[name], bare) if name in kinds else bare
            if description not in descriptions.setdefault(name, []):
                descriptions[name].append(description)
    return {name: (kind | None, Field(None, description="; ".join(descriptions[name]))) for name, kind in kinds.items()}


def hyperparameters(card: type[Method]) -> Mapping[str, Any]:
    """The kind of each of the method's hyperparameters, as its card states it."""
    hints = get_type_hints(card, include_extras=True)
    return {field.name: _present(hints[field.name]) for field in dataclasses.fields(card)}  # type: ignore[arg-type]


def choices(kind: Any) -> tuple[Any, ...]:
    """The values that a kind lists; none where it does not list them."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if get_origin(kind) is Literal else ()


def _present(kind: Any) -> Any:
    """The kind of a value that is there: without None."""
    parts = [part for part in get_args(kind) if part is not NoneType]
    return parts[0] if NoneType in get_args(kind) and len(parts) == 1 else kind


def _without_description(kind: Any) -> tuple[Any, str | None]:
    if get_origin(kind) is not Annotated:
        return kind, None
    bare, *extras = get_args(kind)
    rules: list[Any] = []
    description = None
    for extra in extras:
        if isinstance(extra, FieldInfo):
            description = extra.description or description
            rules += extra.metadata
        else:
            rules.append(extra)
    return (Annotated[(bare, *rules)] if rules else bare), description


def _together(where: str, first: Any, second: Any) -> Any:
    if first == second:
        return first
    listed = dict.fromkeys((*choices(first), *choices(second)))
    if not (choices(first) and choices(second)):
        raise TypeError(
            f"{where}: another method has a hyperparameter of this name and another kind; give it another name"
        )
    return Literal[tuple(listed)]


# By method. Worked out once: recipes look at them again and again.
HYPERPARAMETERS: dict[str, Mapping[str, Any]] = {method: hyperparameters(card) for method, card in METHODS.items()}
