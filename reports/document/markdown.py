"""A document as Markdown (GitHub's), with links to the SVG files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reports.document.blocks import (
    Block,
    Cell,
    Choice,
    Code,
    Document,
    Facts,
    Figure,
    Finding,
    Notice,
    Paragraph,
    Points,
    Section,
    Table,
    Verdict,
)

MOST_ROWS = 200  # a longer table is a link to its CSV


def markdown(document: Document) -> str:
    """The report's text, tables and pictures."""
    lines = [f"# {escape(document.title)}", ""]
    if document.subtitle:
        lines += [escape(document.subtitle), ""]
    if document.run:
        lines += [escape(document.run), ""]
    for section in document.sections:
        lines += _section(section, "##")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def escape(text: str) -> str:
    """Text that means only itself: no markup, no HTML, one line."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", flat)


def _section(section: Section, level: str) -> Iterator[str]:
    yield from (f"{level} {escape(section.title)}", "")
    for block in section.blocks:
        yield from (*_block(block), "")
    for inner in section.subsections:
        yield from _section(inner, f"{level}#")


def _block(block: Block) -> list[str]:
    match block:
        case Paragraph():
            return [escape(block.text)]
        case Verdict():
            return [f"**{escape(block.text)}**"]
        case Choice():
            (label, shown), *others = block.options
            more = [figure for _, blocks in others for figure in blocks if isinstance(figure, Figure)]
            links = [f"[{escape(figure.brief)}](figures/{figure.name}.svg)" for figure in more]
            said = [f"{escape(block.title)} {escape(label)}. Others: {', '.join(links)}."] if links else []
            return [line for inner in shown for line in (*_block(inner), "")] + said
        case Points():
            return [*([escape(block.title), ""] if block.title else []), *(f"- {escape(line)}" for line in block.lines)]
        case Notice():
            return [f"> **{escape(block.title)}**", ">", *(f"> - {escape(line)}" for line in block.lines)]
        case Facts():
            return [f"- {escape(name)}: {escape(value)}" for name, value in block.pairs]
        case Code():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", block.text)), default=0))
            return [*([escape(block.title), ""] if block.title else []), fence, block.text.rstrip("\n"), fence]
        case Figure():
            picture = f"![{escape(block.alternative)}](figures/{block.name}.svg)"
            return [f"**{escape(block.title)}**", "", picture, "", escape(block.caption)]
        case Finding():
            evidence = ["", *_table(block.evidence)] if block.evidence else []
            title = f"**{block.verdict.capitalize()}: {escape(block.statement)}**"
            return [title, "", escape(block.reason), *evidence]
        case Table():
            return _table(block)


def _table(table: Table) -> list[str]:
    csv = f"[Numbers as CSV](tables/{table.name}.csv)" if table.data is not None else ""
    if table.folded or len(table.rows) > MOST_ROWS:
        return [f"{escape(table.caption)} {csv}".rstrip()]
    heads = [f"{column.title}, {column.unit}" if column.unit else column.title for column in table.columns]
    return [
        f"**{escape(table.caption)}**",
        "",
        f"| {' | '.join(map(escape, heads))} |",
        f"| {' | '.join('---:' if column.numeric else '---' for column in table.columns)} |",
        *(f"| {' | '.join(map(_cell, row))} |" for row in table.rows),
        "",
        " ".join([*map(escape, table.notes), csv]),
    ]


def _cell(cell: Cell) -> str:
    return escape(f"{cell.text} ({cell.mark})" if len(cell.mark) > 1 else f"{cell.text} {cell.mark}".strip())
