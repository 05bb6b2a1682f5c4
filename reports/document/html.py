"""A document as one HTML file that needs no network: styles, script and pictures inside, everything else escaped."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from reports.document.blocks import Block, Document
from reports.document.svg import variables

FIGURES_SHOWN = 2  # of neighbours; the others unfold
NOWHERE = "base-uri 'none'; form-action 'none'"
VERDICT_MARKS = {"supported": "✓", "contradicted": "✗", "not enough data": "?"}


def html(document: Document) -> str:
    """The report's page. Text from runs is escaped by the template; SVG was escaped when it was drawn."""
    script = _file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return _environment().get_template("report.html.j2").render(
        document=document,
        style=_file("report.css"),
        light=variables(0),
        dark=variables(1),
        script=script,
        # Only this script runs, whatever a run is called, and nothing is fetched.
        policy=f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'; {NOWHERE}",
        grouped=_grouped,
        marks=VERDICT_MARKS,
        shown=FIGURES_SHOWN,
    )  # fmt: skip


def _grouped(blocks: list[Block]) -> Iterator[tuple[str, list[Block]]]:
    """Neighbours of one kind together, so that pictures can stand side by side."""
    for kind, same in groupby(blocks, key=lambda block: block.kind):
        yield kind, list(same)


def _file(name: str) -> str:
    environment = _environment()
    assert environment.loader is not None
    return environment.loader.get_source(environment, name)[0]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("reports.document"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sort_key"] = _sort_key
    return environment


def _sort_key(value: Any) -> str:
    """What the script sorts by: a number at full precision, or the text."""
    return repr(float(value)) if isinstance(value, int | float) else str(value)
