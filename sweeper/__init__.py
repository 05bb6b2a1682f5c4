"""Run many trials, on a cluster, under a budget; track them. The public names are those of docs/python.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeper.interface.launching import launch as launch
    from sweeper.interface.launching import plan as plan
    from sweeper.interface.plugins import use_plugin as use_plugin
    from sweeper.interface.spec import Spec as Spec
    from sweeper.interface.sweep import LimitReached as LimitReached
    from sweeper.interface.sweep import NotCompleted as NotCompleted
    from sweeper.interface.sweep import Stopped as Stopped
    from sweeper.interface.sweep import Sweep as Sweep
    from sweeper.planning.plan import Plan as Plan

# Where the public names are: each is imported when it is asked for, so that `sweeper --help` stays quick.
_PUBLIC = {
    "LimitReached": "interface.sweep",
    "NotCompleted": "interface.sweep",
    "Plan": "planning.plan",
    "Spec": "interface.spec",
    "Stopped": "interface.sweep",
    "Sweep": "interface.sweep",
    "plan": "interface.launching",
    "use_plugin": "interface.plugins",
}
__all__ = ["LimitReached", "NotCompleted", "Plan", "Spec", "Stopped", "Sweep", "launch", "plan", "use_plugin"]


def __getattr__(name: str) -> Any:
    if name == "launch":  # the room of this name, which can be called
        return import_module("sweeper.launch")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
