"""The page of commands: what each says of itself."""

from __future__ import annotations


def by_click() -> str:
    """Every command by sphinx-click, which makes a table of flags that can be linked to."""
    return "```{eval-rst}\n.. click:: sweeper.cli.main:cli\n   :prog: sweeper\n   :nested: full\n```"
