"""A document as files: report.html, report.md, table.csv, a CSV per table, an SVG and a CSV per figure, and more."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.document.bibliography import bibliography
from reports.document.blocks import Choice, Document, Figure, Table
from reports.document.html import html
from reports.document.latex import latex_files
from reports.document.markdown import markdown
from reports.document.svg import standalone
from trainers.errors import InvalidInput

PREVIEW = ("first-screen.svg", "first-screen.csv")
PUBLISHED = "published_source"  # a column of the main table, where anything was published


def write(document: Document, main_table: pd.DataFrame, out: Path, for_papers: bool = False) -> Path:
    """Write everything under `out` and return the path of report.html. Raises InvalidInput where it cannot.

    for_papers: LaTeX of all and of each table, figures as PDF and PNG too, BibTeX of the sources of published values.
    """
    try:
        for folder in (out, out / "tables", out / "figures"):
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in _files(document, main_table).items():
            (out / name).write_text(text, encoding="utf-8", newline="\n")
        if for_papers:
            for name, content in _paper_files(document, main_table).items():
                (out / name).write_bytes(content)
    except OSError as error:
        raise InvalidInput(f"out: cannot write to {out}: {error.strerror}") from None
    return out / "report.html"


def _files(document: Document, main_table: pd.DataFrame) -> dict[str, str]:
    files = {
        "report.html": html(document),
        "report.md": markdown(document),
        "table.csv": csv(main_table),
    }
    files |= _preview(document)
    for block in document.blocks():
        if isinstance(block, Figure):
            files[f"figures/{block.name}.svg"] = standalone(block.svg)
            files[f"figures/{block.name}.csv"] = csv(block.data)
        elif isinstance(block, Table) and block.data is not None:
            files[f"tables/{block.name}.csv"] = csv(block.data)
    return files


def _preview(document: Document) -> dict[str, str]:
    """The picture and the table of the first screen once more, by names that are the same in every report."""
    choice = next((block for block in document.blocks() if isinstance(block, Choice)), None)
    first = choice.options[0][1] if choice else []
    pictures = [standalone(block.svg) for block in first if isinstance(block, Figure)]
    tables = [csv(block.data) for block in first if isinstance(block, Table) and block.data is not None]
    return dict(zip(PREVIEW, [*pictures[:1], *tables[:1]], strict=False))


def _paper_files(document: Document, main_table: pd.DataFrame) -> dict[str, bytes]:
    """By name: LaTeX, pictures, and the entries of what published values are from."""
    texts = latex_files(document)
    if PUBLISHED in main_table and (entries := bibliography(main_table[PUBLISHED].dropna())):
        texts["sources.bib"] = entries
    found = {name: text.encode() for name, text in texts.items()}
    for figure in (block for block in document.blocks() if isinstance(block, Figure)):
        if figure.written_as:
            found |= {f"figures/{figure.name}.{kind}": figure.written_as(kind) for kind in ("pdf", "png")}
    return found


def csv(data: pd.DataFrame) -> str:
    """Numbers at full precision; a text that a spreadsheet would take for a formula gets a quote before it."""
    safe = data.copy()
    for column in safe.select_dtypes(exclude="number"):
        safe[column] = safe[column].map(lambda value: f"'{value}" if str(value).startswith(("=", "+", "@")) else value)
    return str(safe.to_csv(index=False, lineterminator="\n"))
