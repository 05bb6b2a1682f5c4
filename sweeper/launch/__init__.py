"""One launch of a sweep, and who trains its stages: Ray's workers, or this process.

Called, this package is the public function `sweeper.launch`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package shares its name with the function, and Python puts it in that place when it is imported first."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return import_module("sweeper.interface.launching").launch(*arguments, **settings)


sys.modules[__name__].__class__ = _Callable
