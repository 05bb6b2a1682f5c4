"""BibTeX entries of the sources that published values are from; they lie in search_spaces/sources.bib."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files


def bibliography(sources: Iterable[str]) -> str:
    """The entries of these sources, as published.csv words them, each once, in the order of the file."""
    wanted = list(sources)
    found = [entry for name, entry in entries().items() if any(source.startswith(name) for source in wanted)]
    return "\n\n".join(found) + "\n" if found else ""


def entries() -> dict[str, str]:
    """Every entry by the words that its sources begin with, without them."""
    text = files("search_spaces").joinpath("sources.bib").read_text(encoding="utf-8")
    found = {}
    for entry in re.findall(r"^@\w+\{.*?^\}", text, re.DOTALL | re.MULTILINE):
        (name,) = re.findall(r"^  source *= \{(.*)\},\n", entry, re.MULTILINE)
        found[name] = re.sub(r"^  source .*\n", "", entry, flags=re.MULTILINE)
    return found
