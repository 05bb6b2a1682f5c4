"""A document as files: report.html, report.md, report.tex, table.csv, a CSV per table, an SVG and a CSV per figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.document.blocks import Document, Figure, Table
from reports.document.html import html
from reports.document.latex import latex
from reports.document.markdown import markdown
from reports.document.svg import standalone
from trainers.errors import InvalidInput


def write(document: Document, main_table: pd.DataFrame, out: Path) -> Path:
    """Write everything under `out` and return the path of report.html. Raises InvalidInput where it cannot."""
    try:
        for folder in (out, out / "tables", out / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in _files(document, main_table).items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise InvalidInput(f"out: cannot write to {out}: {error.strerror}") from None
    return out / "report.html"


def _files(document: Document, main_table: pd.DataFrame) -> dict[str, str]:
    files = {
        "report.html": html(document),
        "report.md": markdown(document),
        "report.tex": latex(document),
        "table.csv": csv(main_table),
    }
    for block in document.blocks():
        if isinstance(block, Figure):
            files[f"figures/{block.name}.svg"] = standalone(block.svg)
            files[f"figures/{block.name}.csv"] = csv(block.data)
        elif isinstance(block, Table) and block.data is not None:
            files[f"tables/{block.name}.csv"] = csv(block.data)
    return files


def csv(data: pd.DataFrame) -> str:
    """Numbers at full precision; a text that a spreadsheet would take for a formula gets a quote before it."""
    safe = data.copy()
    for column in safe.select_dtypes(exclude="number"):
        safe[column] = safe[column].map(lambda value: f"'{value}" if str(value).startswith(("=", "+", "@")) else value)
    return str(safe.to_csv(index=False, lineterminator="\n"))
