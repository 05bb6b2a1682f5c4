"""Train one network once, and say what it cost."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.checks import check_cost as check_cost
    from trainers.checks import check_data_set as check_data_set
    from trainers.checks import check_method as check_method
    from trainers.checks import check_network as check_network
    from trainers.data.splits import load_splits as load_splits
    from trainers.errors import InvalidInput as InvalidInput
    from trainers.recipe.recipe import Recipe as Recipe
    from trainers.tickets.tickets import load_ticket as load_ticket
    from trainers.tickets.tickets import save_ticket as save_ticket
    from trainers.training import TrainingRun as TrainingRun

# Where the public names are: each is imported when it is asked for, so that `import trainers` costs nothing.
_PUBLIC = {
    "InvalidInput": "errors",
    "Recipe": "recipe.recipe",
    "TrainingRun": "training",
    "check_cost": "checks",
    "check_data_set": "checks",
    "check_method": "checks",
    "check_network": "checks",
    "load_splits": "data.splits",
    "load_ticket": "tickets.tickets",
    "save_ticket": "tickets.tickets",
}
__all__ = [
    "InvalidInput",
    "Recipe",
    "TrainingRun",
    "check_cost",
    "check_data_set",
    "check_method",
    "check_network",
    "load_splits",
    "load_ticket",
    "save_ticket",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
