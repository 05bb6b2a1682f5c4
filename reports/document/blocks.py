"""A report before it is HTML, Markdown or LaTeX: sections of blocks. Holds plain text only; renderers escape it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import ClassVar

import pandas as pd


@dataclass(frozen=True)
class Cell:
    """One cell. `sort` orders it where the text would not; `note` explains it; `mark` is a short sign after it."""

    text: str
    sort: float | str | None = None
    href: str = ""
    note: str = ""
    mark: str = ""
    family: str = ""  # shows that family's colour before the text
    arm: str = ""  # the arm that the row is of, by the name that pictures have for it
    verdict: bool = False  # the text is a verdict, and looks like one


@dataclass(frozen=True)
class Column:
    """A column's head; `unit` in a second line; `numeric` columns are set flush right."""

    title: str
    unit: str = ""
    numeric: bool = True
    wraps: bool = False  # long text that may take several lines


@dataclass(frozen=True)
class Table:
    """A table as shown, and its data as numbers for the CSV beside it."""

    kind: ClassVar[str] = "table"
    name: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    notes: list[str] = field(default_factory=list)
    data: pd.DataFrame | None = None
    folded: bool = False
    stacks: bool = False  # on a phone every row is a card of its own: for tables of few columns with long text


@dataclass(frozen=True)
class Figure:
    """A picture, what it says in words, and the numbers it was drawn from."""

    kind: ClassVar[str] = "figure"
    name: str
    title: str
    caption: str
    alternative: str
    svg: str
    data: pd.DataFrame
    written_as: Callable[[str], bytes] | None = field(default=None, compare=False)  # of a format: 'pdf', 'png'

    @property
    def brief(self) -> str:
        """The title without the problem that it begins with."""
        return self.title.partition(": ")[2] or self.title


@dataclass(frozen=True)
class Paragraph:
    """Running text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True)
class Notice:
    """What a reader must know before trusting the rest: trials missing or failed."""

    kind: ClassVar[str] = "notice"
    title: str
    lines: list[str]


@dataclass(frozen=True)
class Points:
    """Short statements, one below the other; those with a title unfold."""

    kind: ClassVar[str] = "points"
    lines: list[str]
    title: str = ""


@dataclass(frozen=True)
class Verdict:
    """The answer in a sentence, large."""

    kind: ClassVar[str] = "verdict"
    text: str


@dataclass(frozen=True)
class Choice:
    """One of several sets of figures and tables at a time, the first unless another is chosen."""

    kind: ClassVar[str] = "choice"
    name: str
    title: str  # what is chosen
    options: list[tuple[str, list[Figure | Table]]]


@dataclass(frozen=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    pairs: list[tuple[str, str]]
    prominent: bool = False  # as large numbers at the head of a section


@dataclass(frozen=True)
class Code:
    """A command or a file, as it is typed."""

    kind: ClassVar[str] = "code"
    text: str
    title: str = ""


@dataclass(frozen=True)
class Finding:
    """A claim with its computed verdict and the evidence for it."""

    kind: ClassVar[str] = "finding"
    name: str
    statement: str
    verdict: str
    reason: str
    evidence: Table | None


Block = Table | Figure | Paragraph | Notice | Points | Facts | Code | Finding | Verdict | Choice


@dataclass(frozen=True)
class Section:
    """A headed part of a report."""

    title: str
    anchor: str
    blocks: list[Block]
    subsections: list[Section] = field(default_factory=list)
    folded: bool = False  # its title is shown, the rest unfolds


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    subtitle: str
    sections: list[Section]
    run: str = ""  # what was run, whatever the subtitle says of what was to be

    def blocks(self) -> Iterable[Block]:
        """Every block, in reading order; the evidence of a finding counts as a block of its own."""
        for section in self.sections:
            yield from _blocks(section)


def _blocks(section: Section) -> Iterable[Block]:
    for block in section.blocks:
        yield block
        if isinstance(block, Finding) and block.evidence:
            yield block.evidence
        if isinstance(block, Choice):
            yield from (inner for _, blocks in block.options for inner in blocks)
    for inner in section.subsections:
        yield from _blocks(inner)


def slug(text: str) -> str:
    """A name that is safe in file names, anchors and ids: lower case letters, digits, single hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unnamed"


def distinct(names: Iterable[str]) -> list[str]:
    """The slugs of the names, numbered where two would be one."""
    found: list[str] = []
    for name in map(slug, names):
        numbered = (f"{name}-{number}" for number in count(2))
        found.append(name if name not in found else next(other for other in numbered if other not in found))
    return found
