"""What a search found: its best points, what each searched field has to do with accuracy, and the pictures of both."""

from __future__ import annotations

from collections.abc import Iterator
from math import isnan
from typing import Any

import pandas as pd

from reports.analysis.arms import counted_trials, rows
from reports.analysis.importance import importance
from reports.document.blocks import Block, Cell, Column, Figure, Table, slug
from reports.pictures.canvas import Words
from reports.pictures.charts import problem_name
from reports.pictures.searches import BEST as TOLD
from reports.pictures.searches import accuracy_against_field, parallel_fields
from reports.sections.tables import accuracy, cost_cell, cost_column
from reports.tracked.runs import Sweep
from search_spaces.ranges import ACCURACY, Search, is_better_higher
from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from trainers.costs.registry import EPOCHS, cost_named
from trainers.errors import InvalidInput
from trainers.readable import MISSING, counted, lowered, number, p_value, percent

BEST = 10  # points of a search for one objective


def search_blocks(sweep: Sweep, trials: pd.DataFrame, arms: pd.DataFrame, name: str) -> list[Block]:
    """The table of what was found, then importance and pictures; nothing where nothing was searched."""
    table = search_table(sweep, trials, arms, name)
    search = _search_of(sweep)
    if table is None or search is None:
        return []
    asked = trials.loc[trials["search_trial"] != "", "arm_hash"]
    points = arms[arms["arm_hash"].isin(set(asked)) & arms[ACCURACY].notna()].reset_index(drop=True)
    fields = [field for field in search.order() if points[field].nunique() > 1]
    if len(points) < 2 or not fields:
        return [table]
    return [*_pictures(points, fields, search, name), table, _importance_table(points, fields, name)]


def _pictures(points: pd.DataFrame, fields: list[str], search: Search, name: str) -> Iterator[Figure]:
    best = points[ACCURACY] == points[ACCURACY].max()
    common = points.rename(columns={"arm": "label", ACCURACY: "accuracy"}).assign(best=best)
    ranked = importance(points, fields, ACCURACY)["field"].tolist()
    winner = points[best].iloc[0]
    said = f"Best: {winner['arm']}, {percent(winner[ACCURACY])} % validation accuracy."
    problem = problem_name(winner)
    for field in ranked:
        drawn = common[["label", "family", "accuracy", "best"]].assign(x=_plain(points[field])).dropna()
        words_of = field.replace("_", " ")
        words = Words(f"{name}-{slug(field)}", f"{problem}: validation accuracy against {words_of}", said)
        drawing = accuracy_against_field(drawn, words_of[0].upper() + words_of[1:], _logarithmic(search, field), words)
        yield Figure(words.name, words.title, f"One mark per point of the search, the best ringed. {said}", said,
                     drawing.svg, drawn, drawing.written_as)  # fmt: skip
    if len(fields) > 1:
        drawn = pd.concat(
            [common[["label", "family", "accuracy"]], *(_plain(points[field]) for field in fields)], axis=1
        )
        words = Words(f"{name}-fields", f"{problem}: every point of the search through all that was searched", said)
        drawing = parallel_fields(drawn, {field: _logarithmic(search, field) for field in fields}, words)
        caption = f"A line per point; the best {TOLD} are in colour, the best of all is thick."
        yield Figure(words.name, words.title, caption, said, drawing.svg, drawn, drawing.written_as)


def _plain(values: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers as floats, everything else as it is."""
    return values.astype(float) if pd.api.types.is_numeric_dtype(values) and values.dtype != "boolean" else values


def _logarithmic(search: Search, field: str) -> bool:
    dimension = search.space[field]
    return dimension.log or dimension.log_uniform is not None


def _importance_table(points: pd.DataFrame, fields: list[str], name: str) -> Table:
    found = importance(points, fields, ACCURACY)
    best = points.iloc[int(points[ACCURACY].to_numpy(dtype=float).argmax())]
    cells = [
        [
            Cell(row.field.replace("_", " ")), Cell(percent(row.share), None if isnan(row.share) else row.share),
            Cell(p_value(row.p_value)), Cell(f"{row.n}", int(row.n)), Cell(_text(best[row.field])),
        ]
        for row in rows(found)
    ]  # fmt: skip
    return Table(
        f"{name}-importance", "What each searched field has to do with accuracy",
        [Column("Field", numeric=False), Column("Spread explained", "%"), Column("p"), Column("Points"),
         Column("At the best point", numeric=False)],
        cells,
        ["Share of the spread of ranks of validation accuracy that lies between groups of points by this field alone "
         "(Kruskal and Wallis); how fields work together is not in it."],
        found,
    )  # fmt: skip


def _text(value: Any) -> str:
    if value is None or value != value:
        return MISSING
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("_", " ")


def search_table(sweep: Sweep, trials: pd.DataFrame, arms: pd.DataFrame, name: str) -> Table | None:
    """The Pareto front of the search's own objectives, or its best points; None where nothing was searched."""
    search = _search_of(sweep)
    asked = trials[trials["search_trial"] != ""]
    if search is None or asked.empty:
        return None
    numbers_of = asked.groupby("arm_hash")["search_trial"].first()
    points = arms[arms["arm_hash"].isin(numbers_of.index) & (arms["n"] > 0)].copy()
    goals = list(search.objectives)
    points = points.dropna(subset=goals)
    points["search_trial"] = points["arm_hash"].map(numbers_of).astype(int)
    points["is_part"] = points["n"] < points["trials"]  # these stand below those of which all seeds completed
    order = ["is_part", *goals] if len(goals) == 1 else goals
    ascending = [name == "is_part" or not is_better_higher(name) for name in order]
    points = points.sort_values(order, ascending=ascending, kind="stable")
    if len(goals) > 1:
        points = points[[not _is_beaten(point, points, goals) for _, point in points.iterrows()]]
        what = f"Pareto front of {' against '.join(_phrase(goal) for goal in goals)}"
    else:
        points = points.head(BEST)
        what = f"Best by {_phrase(goals[0])}"
    tried = counted(numbers_of.size, "point")
    return Table(
        name,
        f"What the search found. {what}: {len(points):,} of {tried}, asked for by {_SAMPLERS[search.sampler]}",
        [Column("Point", numeric=False), Column("Trial of the search"), *(goal_column(goal) for goal in goals),
         Column("Test accuracy", "%"), Column("n")],
        [[Cell(str(point.arm), family=point.family), Cell(str(point.search_trial), point.search_trial),
          *(_cell(value, goal) for goal, value in zip(goals, values, strict=True)),
          accuracy(point._asdict(), "test_accuracy"), Cell(counted_trials(point._asdict()), int(point.n))]
         for point, values in zip(rows(points), points[goals].to_numpy(dtype=float).tolist(), strict=True)],
        ["Points are compared by validation accuracy, which the search was told; the best of many is flattered by it, "
         "and its test accuracy is the one to quote. Points that failed or were stopped early are not among them."],
        points[["arm", "arm_hash", "search_trial", *goals, *(["test_accuracy"]), "n"]].reset_index(drop=True),
    )  # fmt: skip


_SAMPLERS = {
    "random": "random sampling",
    "qmc": "quasi-random sampling",
    "tpe": "TPE",
    "cmaes": "CMA-ES",
    "nsga2": "NSGA-II",
}


def _search_of(sweep: Sweep) -> Search | None:
    try:
        return Spec.parse(read_yaml(sweep.spec)).search if sweep.spec else None
    except InvalidInput:  # the spec of another version
        return None


def _is_beaten(point: Any, points: pd.DataFrame, goals: list[str]) -> bool:
    """Whether some point is as good in every objective, and better in one."""
    signs = [-1.0 if is_better_higher(goal) else 1.0 for goal in goals]
    mine = point[goals].to_numpy(dtype=float) * signs
    all_of_them = points[goals].to_numpy(dtype=float) * signs
    return bool(((all_of_them <= mine).all(axis=1) & (all_of_them < mine).any(axis=1)).any())


def _phrase(goal: str) -> str:
    if goal in (ACCURACY, EPOCHS):
        return goal.replace("_", " ")
    return lowered(cost_named(goal).phrase)


def goal_column(goal: str) -> Column:
    if goal == ACCURACY:
        return Column("Validation accuracy", "%")
    return Column("Epochs") if goal == EPOCHS else cost_column(goal)


def _cell(value: float, goal: str) -> Cell:
    if goal == ACCURACY:
        return Cell(percent(value), value)
    return Cell(number(value), value) if goal == EPOCHS else cost_cell(value, goal)
