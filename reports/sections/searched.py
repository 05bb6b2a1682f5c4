"""What a search found: the points that no other beats in every objective, by validation accuracy."""

from __future__ import annotations

from typing import Any

import pandas as pd

from reports.analysis.arms import counted_trials, rows
from reports.document.blocks import Cell, Column, Table
from reports.sections.tables import accuracy, cost_cell, cost_column
from reports.tracked.runs import Sweep
from search_spaces.ranges import ACCURACY, Search, is_better_higher
from search_spaces.spec import Spec
from search_spaces.yaml_reader import read_yaml
from trainers.costs.registry import EPOCHS, cost_named
from trainers.errors import InvalidInput
from trainers.readable import counted, lowered, number, percent

BEST = 10  # points of a search for one objective


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
        [Column("Point", numeric=False), Column("Trial of the search"), *(_column(goal) for goal in goals),
         Column("Test accuracy", "%"), Column("n")],
        [[Cell(str(point.arm), family=point.family), Cell(str(point.search_trial), point.search_trial),
          *(_cell(point, goal) for goal in goals), accuracy(point._asdict(), "test_accuracy"),
          Cell(counted_trials(point._asdict()), int(point.n))] for point in rows(points)],
        ["Points are compared by validation accuracy, which the search was told; the best of many is flattered by it, "
         "and its test accuracy is the one to quote. Points that failed or were stopped early are not among them."],
        points[["arm", "arm_hash", "search_trial", *goals, *(["test_accuracy"]), "n"]].reset_index(drop=True),
    )  # fmt: skip


_SAMPLERS = {"random": "random sampling", "tpe": "TPE", "nsga2": "NSGA-II"}


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


def _column(goal: str) -> Column:
    if goal == ACCURACY:
        return Column("Validation accuracy", "%")
    return Column("Epochs") if goal == EPOCHS else cost_column(goal)


def _cell(point: Any, goal: str) -> Cell:
    value = float(getattr(point, goal))
    if goal == ACCURACY:
        return Cell(percent(value), value)
    return Cell(number(value), value) if goal == EPOCHS else cost_cell(value, goal)
