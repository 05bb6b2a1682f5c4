"""The parts of the site that are made from the code, put where a page says `<!-- generated: NAME -->`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs.generated import choices, commands, rooms

PARTS: dict[str, Callable[[], str]] = {
    "methods": choices.methods,
    "networks": choices.networks,
    "data-sets": choices.data_sets,
    "presets": choices.presets,
    "recipe-fields": choices.recipe_fields,
    "specs": choices.specs,
    "chains": choices.chains,
    "commands": commands.by_click,  # with the command line on Click: commands.by_click
    "ideas": rooms.ideas,
    "rooms": rooms.table,
    "arrows": rooms.picture,
    "circles": rooms.circles,
}
# Pages that stand below another one in the table of contents; the pages themselves stay free of such lists.
CHILDREN = {
    "results/README": """
Lenet on MNIST <lenet_mnist/report>
By tuned as it is now <lenet_mnist_tuned/report>
At the published length <lenet_published_budget/report>
Twelve more seeds <lenet_mnist_twelve_seeds/report>
Accuracy against stored bytes <stored_bits/report>
Starting from what is selected <selected_init/report>
Values that hang together <value_layouts/report>
Width at a fixed number of bytes <bytes_fixed/report>
CONV-2 on CIFAR-10 <conv2_cifar10/report>
CONV-2 against stored bytes <stored_bits_conv2/report>""",
    "decisions/README": """
[0-9]*
template""",
}

MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
OTHER_HOST = r"""["']?(?:https?:)?//"""
FETCHES = re.compile(
    rf"<(?:script|img|iframe|source)\b[^>]*\bsrc={OTHER_HOST}"
    rf"|<link\b[^>]*\brel=[\"']?(?:stylesheet|icon|preload|preconnect)\b[^>]*\bhref={OTHER_HOST}"
    rf"|url\({OTHER_HOST}|@import\s+{OTHER_HOST}"
)


def complete(text: str) -> str:
    """The page with every mark replaced by the part that it names. Raises KeyError for an unknown part."""
    return MARK.sub(lambda mark: PARTS[mark[1]](), text)


def fetches(folder: Path) -> list[str]:
    """The pages and style sheets below the folder that make a browser load something from another host."""
    files = [*folder.rglob("*.html"), *folder.rglob("*.css")]
    return sorted(str(path.relative_to(folder)) for path in files if FETCHES.search(path.read_text(encoding="utf-8")))


def setup(app: Any) -> dict[str, bool]:
    """What Sphinx calls: complete pages as they are read, and refuse a site that needs other hosts."""
    app.connect("source-read", _complete_page)
    app.connect("build-finished", _refuse_other_hosts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _complete_page(app: Any, page: str, source: list[str]) -> None:
    source[0] = complete(source[0])
    if page in CHILDREN:
        source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n{CHILDREN[page]}\n```\n"


def _refuse_other_hosts(app: Any, error: Exception | None) -> None:
    from sphinx.util.logging import getLogger  # here, so that all else works where Sphinx is not installed

    for page in fetches(Path(app.outdir)) if error is None else ():
        getLogger(__name__).warning("%s loads something from another host", page)  # an error under -W
