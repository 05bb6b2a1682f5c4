"""How much of the paper is settled: the tree of requirements with its states, and a picture of them by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from math import isnan

import pandas as pd

from reports.analysis.requirements import State, Ticked
from reports.document.blocks import Block, Cell, Column, Figure, Paragraph, Section, Table, slug
from reports.pictures.canvas import Words
from reports.pictures.charts import problem_name
from reports.pictures.figures import counts_of
from trainers.readable import MISSING, listed, seconds

SIGNS = {State.MET: "✓", State.CONTRADICTED: "✗", State.OPEN: "?", State.OUT_OF_REACH: "–"}
NOTE = (
    "What the paper, and the works that it compares with, say of each problem. Met and contradicted are computed from "
    "the trials of this report: by the claims under Evidence, or by whether the 95 % interval of ours less the "
    "published value lies within the tolerance that search_spaces/requirements.yaml names, above it or below. Open: "
    "the command would settle it; hours are of training at the pace measured here, trial after trial, where this "
    "network was trained here at all."
)


def coverage_sections(found: Sequence[Ticked]) -> list[Section]:
    """The section; nothing where the trials settle and touch nothing of the paper."""
    touched = [each for each in found if each.state in (State.MET, State.CONTRADICTED) or not isnan(each.hours)]
    if not touched:
        return []
    blocks: list[Block] = [Paragraph(f"Of {len(found)} requirements {_counted(found)}. {NOTE}"), _figure(found)]
    for group, members in groupby(found, key=lambda each: each.requirement.group):
        blocks.append(_table(group, list(members)))
    return [Section("The paper, requirement by requirement", "requirements", blocks, folded=True)]


def coverage_line(found: Sequence[Ticked]) -> str:
    """'Of 103 requirements of the paper 20 are met, 3 contradicted, …'; nothing where none is settled."""
    settled = any(each.state in (State.MET, State.CONTRADICTED) for each in found)
    return f"Of {len(found)} requirements of the paper {_counted(found)}." if settled else ""


def _counted(found: Sequence[Ticked]) -> str:
    counts = Counter(each.state for each in found)
    return listed([f"{counts[state]} are {state}" if not place else f"{counts[state]} {state}"
                   for place, state in enumerate(State)])  # fmt: skip


def _table(group: str, found: list[Ticked]) -> Table:
    columns = [
        Column("State", numeric=False), Column("Requirement", numeric=False, wraps=True), Column("Of", numeric=False),
        Column("Hours"), Column("Why, and what would settle it", numeric=False, wraps=True),
    ]  # fmt: skip
    rows, data = [], []
    for each in found:
        of, said = each.requirement, f"{each.why} {each.command}".strip()
        problem = problem_name({"network": of.network, "dataset": of.dataset})
        hours = MISSING if isnan(each.hours) else seconds(3600 * each.hours)
        rows.append([
            Cell(f"{SIGNS[each.state]} {each.state}", str(each.state)), Cell(of.text), Cell(problem),
            Cell(hours, None if isnan(each.hours) else each.hours), Cell(said),
        ])  # fmt: skip
        data.append({
            "group": of.group, "requirement": of.text, "network": of.network, "dataset": of.dataset,
            "state": str(each.state), "why": each.why, "command": each.command, "hours": each.hours,
        })  # fmt: skip
    caption = f"{group}: {_counted(found)}"
    return Table(
        f"requirements-{slug(group)}", caption, columns, rows, [], pd.DataFrame(data), folded=True, stacks=True
    )


def _figure(found: Sequence[Ticked]) -> Figure:
    """A bar per group, its parts by state."""
    groups = list(dict.fromkeys(each.requirement.group for each in found))
    counts = Counter((each.requirement.group, each.state) for each in found)
    data = pd.DataFrame(
        {"group": groups, **{str(state): [counts[group, state] for group in groups] for state in State}}
    )
    title = "How much of the paper is settled"
    words = Words("requirements", title, f"{_counted(found)}.")
    drawing = counts_of(data, [str(state) for state in State], words)
    caption = "Requirements by their state, a bar for each part of the paper."
    return Figure(words.name, title, caption, words.description, drawing.svg, data, drawing.written_as)
