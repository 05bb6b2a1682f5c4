"""Accuracy along what a sweep varies, as tables: a row for arms that are alike in all else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import ARM_FIELDS, same_problem
from reports.analysis.likeness import Likeness, Positions
from reports.document.blocks import Cell, Column, Table, slug
from reports.pictures.charts import FIELD_WORDS, best_lines, lines_along, problem_name
from reports.sections.tables import accuracy

MOST_VALUES, MOST_LINES = 10, 12  # in one table
ELSEWHERE = {"network", "dataset", "method", "finetune_epochs", "split_seed", "validation_examples"}
NOTE = "Test accuracy, %. A row holds arms that are alike in all else."
WORDS = {**FIELD_WORDS, "options": "options per connection, K", "slot_epochs": "slot epochs, of one total"}


def axis_tables(arms: pd.DataFrame, name: str) -> list[Table]:
    """A folded table for every field that varies between arms alike in all else, problem by problem."""
    found: list[Table] = []
    problems = same_problem(arms)
    for problem in problems:
        own = problem.reset_index(drop=True)
        likeness = Likeness(own)
        suffix = f"-{slug(problem_name(own.iloc[0]))}" if len(problems) > 1 else ""
        for field in (field for field in ARM_FIELDS if field not in ELSEWHERE and own[field].nunique() > 1):
            lines = lines_along(own, _groups(own, likeness, field), field)
            title = problem_name(own.iloc[0]) if len(problems) > 1 else ""
            if lines:
                found.append(_table(lines, field, f"{name}-along-{slug(field)}{suffix}", title))
    return found


def _groups(arms: pd.DataFrame, likeness: Likeness, field: str) -> list[Positions]:
    """Arms alike but for the field; where the slot phase ends, at one total of epochs."""
    known = np.flatnonzero(arms[field].notna())
    if field != "slot_epochs":
        return likeness.groups(known, {field})
    budgets = (arms["slot_epochs"] + arms["finetune_epochs"]).to_numpy(dtype=float)
    split = known[(arms["slot_epochs"].to_numpy(dtype=float)[known] > 0)]
    groups = likeness.groups(split, {"slot_epochs", "finetune_epochs"})
    return [group[budgets[group] == budget] for group in groups for budget in sorted(set(budgets[group]))]


def _table(lines: list[tuple[str, pd.DataFrame]], field: str, name: str, problem: str) -> Table:
    """Rows are lines, columns are values; of many values the CSV has the rest."""
    shown = best_lines(lines, MOST_LINES)
    values = sorted({value for _, group in shown for value in group[field]}, key=_place)[:MOST_VALUES]
    columns = [Column("Arms", numeric=False), *(Column(_text(value)) for value in values)]
    rows = [
        [Cell(label, family=group["family"].mode().iloc[0]), *(_cell(group, field, value) for value in values)]
        for label, group in shown
    ]  # fmt: skip
    told = [field, "test_accuracy", "test_accuracy_half_width", "validation_accuracy", "n"]
    data = pd.concat([group for _, group in lines])[told]
    data["line"] = np.repeat([label for label, _ in lines], [len(group) for _, group in lines])
    words = WORDS.get(field, field.replace("_", " "))
    caption = f"{problem}: along {words}" if problem else f"Along {words}"
    return Table(name, caption, columns, rows, [NOTE], data, folded=True)


def _cell(group: pd.DataFrame, field: str, value: Any) -> Cell:
    own = group[group[field] == value]
    return accuracy(own.iloc[0], "test_accuracy") if len(own) else Cell("–")


def _place(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float | np.number)
    return not number, float(value) if number else 0.0, str(value)


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value).replace("_", " ")
