"""The page of commands: what each says of itself."""

from __future__ import annotations

import contextlib
import io
import os
import re

from sweeper.cli.main import main

WIDTH = "86"  # letters a line


def by_help() -> str:
    """Every command with the text of its --help, commands of commands after them."""
    return "\n\n".join(f"## {' '.join(words)}\n\n```\n{text}\n```" for words, text in _pages(["sweeper"]))


def by_click() -> str:
    """The same by sphinx-click, which makes a table of flags that can be linked to."""
    return "```{eval-rst}\n.. click:: sweeper.cli.main:cli\n   :prog: sweeper\n   :nested: full\n```"


def _pages(words: list[str]) -> list[tuple[list[str], str]]:
    """The command and all below it, each with its help."""
    text = _help(words[1:])
    listed = re.search(r"^positional arguments:\n  COMMAND\n(.*?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r"^    (\w[\w-]*)", listed[1], re.MULTILINE) if listed else []
    return [(words, text), *(page for name in names for page in _pages([*words, name]))]


def _help(arguments: list[str]) -> str:
    out = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = WIDTH
    try:
        with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
            main([*arguments, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return out.getvalue().rstrip()
