"""How much of a search's spread in accuracy each searched field explains, one field at a time."""

from __future__ import annotations

from math import nan
from typing import Any

import pandas as pd
from scipy import stats

MOST_GROUPS, LEAST = 4, 8  # groups of neighbouring values; points, below which nothing can be said


def importance(points: pd.DataFrame, fields: list[str], goal: str) -> pd.DataFrame:
    """A row per field, the most important first: field, share (0..1 of the spread of ranks), p_value, n.

    The points are put into groups by their value, of many values into quarters; Kruskal and Wallis's H of the groups,
    divided by n - 1, is the share of the variance of ranks that lies between them. nan where points or values are few.
    """
    rows = [{"field": field, **_share(points[[field, goal]].dropna(), field, goal)} for field in fields]
    found = pd.DataFrame(rows, columns=["field", "share", "p_value", "n"])
    return found.sort_values("share", ascending=False, kind="stable", ignore_index=True)


def _share(known: pd.DataFrame, field: str, goal: str) -> dict[str, Any]:
    groups = [group[goal].to_numpy() for _, group in known.groupby(_groups(known[field]), observed=True)]
    groups = [group for group in groups if len(group)]
    if len(known) < LEAST or len(groups) < 2 or known[goal].nunique() < 2:
        return {"share": nan, "p_value": nan, "n": len(known)}
    found = stats.kruskal(*groups)
    return {"share": float(found.statistic) / (len(known) - 1), "p_value": float(found.pvalue), "n": len(known)}


def _groups(values: pd.Series[Any]) -> Any:
    if values.nunique() <= MOST_GROUPS or not pd.api.types.is_numeric_dtype(values):
        return values
    return pd.qcut(values.astype(float).rank(method="average"), MOST_GROUPS, duplicates="drop")
