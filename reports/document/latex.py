"""A document's tables and claims as LaTeX (booktabs): a file a table, by pandas' Styler, and one that has them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from reports.document.blocks import (
    Block,
    Cell,
    Choice,
    Column,
    Document,
    Facts,
    Finding,
    Notice,
    Paragraph,
    Points,
    Section,
    Table,
    Verdict,
)

MOST_ROWS = 200  # a longer table is left to its CSV
LONGEST_TABULAR = 30  # rows; a longer table breaks over pages
PREAMBLE = r"""% Needs booktabs, longtable, caption, graphicx. Run LaTeX twice: only then are long tables set right.
\documentclass[a4paper]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\usepackage[landscape,margin=15mm]{geometry}
\usepackage{booktabs}
\usepackage{longtable}
\usepackage{array}
\usepackage{caption}
\usepackage{graphicx}
\setlength{\tabcolsep}{4pt}
\setlength{\parindent}{0pt}
"""
PARAGRAPH = r">{\raggedright\arraybackslash}p{70mm}"
KEPT_TOGETHER = r"\par\medskip\noindent\begin{minipage}{\linewidth}\centering\footnotesize"
# What is wider than the page is made smaller.
FITTED = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
ESCAPES = {
    # After the end of a row, [ and * would be taken for its options.
    "[": "{[}", "]": "{]}", "*": "{*}",
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}", "'": "'", "`": r"\textasciigrave{}", "±": r"$\pm$", "−": r"$-$", "×": r"$\times$",
    "◆": r"$\diamond$", "–": "--", "’": "'",
}  # fmt: skip


def latex_files(document: Document) -> dict[str, str]:
    """report.tex, and a file for every table in it that stands alone in a paper: `\\input` it."""
    tables = {block.name: block for block in document.blocks() if isinstance(block, Table) and block.rows}
    return {"report.tex": latex(document)} | {f"tables/{name}.tex": tabular(table) for name, table in tables.items()}


def latex(document: Document) -> str:
    """The report's text, claims and tables, to compile alone."""
    lines = [PREAMBLE + r"\begin{document}", rf"\section*{{{escape(document.title)}}}"]
    if document.subtitle:
        lines += [escape(document.subtitle), ""]
    if document.run:
        lines += [escape(document.run), ""]
    for section in document.sections:
        lines += _section(section, "section")
    return "\n".join([*lines, r"\end{document}", ""])


def tabular(table: Table, environment: str = "tabular") -> str:
    """The rows and heads of a table in LaTeX, nothing around them."""
    heads, cells = [_head(column) for column in table.columns], [list(map(_cell, row)) for row in table.rows]
    layout = "".join("r" if column.numeric else PARAGRAPH if column.wraps else "l" for column in table.columns)
    # Numbered columns: pandas would not have two heads that read alike.
    styler = pd.DataFrame(cells, columns=range(len(heads)), dtype=object).style.hide(axis="index")
    shown: dict[Any, str] = dict(enumerate(heads))
    styler = styler.format_index(shown.__getitem__, axis="columns")
    long = environment == "longtable"
    text = str(
        styler.to_latex(environment=environment if long else None, column_format=f"@{{}}{layout}@{{}}", hrules=True)
    )
    if not long:
        return text
    opening, rest = text.split("\n", 1)
    return "\n".join([opening, rf"\caption*{{{escape(table.caption)}}}\\", rest])


def escape(text: str) -> str:
    """Text that means only itself; a letter that the plain fonts lack becomes a question mark."""
    flat = " ".join(text.split())
    return "".join(ESCAPES.get(letter, letter if _is_plain(letter) else "?") for letter in flat)


def _is_plain(letter: str) -> bool:
    return " " <= letter <= "~" or "¡" <= letter <= "ÿ"


def _section(section: Section, level: str) -> Iterator[str]:
    yield rf"\{level}*{{{escape(section.title)}}}"
    for block in section.blocks:
        yield from _block(block)
    for inner in section.subsections:
        yield from _section(inner, f"sub{level}")


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph():
            return [escape(block.text), ""]
        case Verdict():
            return [rf"\textbf{{{escape(block.text)}}}", ""]
        case Choice():
            return [line for inner in block.options[0][1] for line in _block(inner)]
        case Points():
            return _itemized(block.lines)
        case Notice():
            return [rf"\textbf{{{escape(block.title)}}}", *_itemized(block.lines)]
        case Facts():
            return _itemized([f"{name}: {value}" for name, value in block.pairs])
        case Finding():
            title = rf"\paragraph{{{escape(block.statement)}}} \emph{{{escape(block.verdict)}}}. {escape(block.reason)}"
            return [title, *(_table(block.evidence) if block.evidence else []), ""]
        case Table():
            return _table(block)
        case _:
            return []  # figures are files of their own, and a spec is no prose


def _itemized(lines: list[str]) -> list[str]:
    if not lines:
        return []
    return [r"\begin{itemize}", *(rf"\item {escape(line)}" for line in lines), r"\end{itemize}"]


def _table(table: Table) -> list[str]:
    if table.folded or len(table.rows) > MOST_ROWS or not table.rows:
        return []
    notes = [rf"{{\footnotesize {escape(note)}\par}}" for note in table.notes]
    if len(table.rows) > LONGEST_TABULAR:
        return [r"{\footnotesize", tabular(table, "longtable").rstrip() + "}", *notes, ""]
    return [
        KEPT_TOGETHER, rf"\captionof*{{table}}{{{escape(table.caption)}}}", FITTED, tabular(table).rstrip(),
        r"}\par\smallskip", r"\raggedright", *notes, r"\end{minipage}\par\medskip", "",
    ]  # fmt: skip


def _head(column: Column) -> str:
    return escape(f"{column.title} ({column.unit})" if column.unit else column.title)


def _cell(cell: Cell) -> str:
    return escape(f"{cell.text} ({cell.mark})" if len(cell.mark) > 1 else f"{cell.text} {cell.mark}".strip())
