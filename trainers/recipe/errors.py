"""The errors of recipes: those of all trainers, by their older address."""

from __future__ import annotations

from trainers.errors import InvalidInput, explain, nearest, one_of

__all__ = ["InvalidInput", "explain", "nearest", "one_of"]
