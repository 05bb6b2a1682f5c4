"""Curves along training: the best arm of every family, its mean per epoch with intervals, against epochs and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.analysis.arms import best_by, rows, same_problem
from reports.analysis.statistics import interval_half_width
from reports.document.blocks import Figure, slug
from reports.pictures import figures
from reports.pictures.canvas import Words
from reports.pictures.charts import own_names, problem_name
from trainers.costs.registry import COSTS
from trainers.readable import lowered, percent

TIME = COSTS["train_seconds"]
ReadCurves = Callable[[list[str], str], pd.DataFrame]  # runs, metric -> run_id, epoch, value
INTERVALS = (
    "Lines are means over seeds, shades their Student-t 95 % intervals; the best arm of each family by validation."
)


@dataclass(frozen=True)
class Curve:
    """A metric of every epoch that is worth a picture."""

    metric: str
    name: str
    phrase: str
    logarithmic: bool = False


ACCURACY = Curve("validation_accuracy", "training", "Validation accuracy")
CHANGED = Curve("changed_fraction", "changed", "Share of connections whose selection changed in an epoch", True)
EXTREMES = Curve("extreme_fraction", "extremes", "Share of connections that use their smallest or largest value")


def curves_of(arms: pd.DataFrame, name: str, read: ReadCurves) -> list[Figure]:
    """The pictures along training for the arms of one sweep; few runs are read, and in few requests."""
    found: list[Figure] = []
    for problem in same_problem(arms):
        suffix = f"-{slug(problem_name(problem.iloc[0]))}" if len(same_problem(arms)) > 1 else ""
        chosen = pd.DataFrame(
            [best_by(family, "validation_accuracy") for _, family in problem.groupby("family", sort=False)]
        )
        found += along_epochs(ACCURACY, chosen, f"{name}-{ACCURACY.name}{suffix}", read)
    return found


def along_epochs(curve: Curve, arms: pd.DataFrame, name: str, read: ReadCurves) -> Iterator[Figure]:
    """The picture of one metric, a line per arm; nothing where no two epochs have it. Accuracy against time too."""
    points = _means(curve, arms, read)
    if points.empty or points["x"].nunique() < 2:
        return
    title = f"{problem_name(arms.iloc[0])}: {lowered(curve.phrase)}"
    yield _figure(curve, points, figures.EPOCHS, name, f"{title} along training")
    devices = set(arms["device"])
    timed = points[points["seconds"].notna()]
    if curve is ACCURACY and len(devices) == 1 and len(timed):
        divisor, unit = TIME.unit.of_axis(float(timed["seconds"].max()))
        against_time = timed.assign(x=timed["seconds"] / divisor)
        yield _figure(curve, against_time, f"{TIME.phrase}, {unit}", f"{name}-time", f"{title} against training time")


def _figure(curve: Curve, points: pd.DataFrame, x_label: str, name: str, title: str) -> Figure:
    last = points.sort_values("epoch").groupby("series", sort=False).tail(1)
    ends = [f"{row.series} {percent(row.value, row.half_width)} %" for row in rows(last)]
    words = Words(name, title, f"In the last epoch: {'; '.join(ends)}.")
    note = "" if curve.logarithmic else " The axis starts where training is a tenth through."
    drawing = figures.along_training(points, x_label, f"{curve.phrase}, %", curve.logarithmic, words)
    return Figure(name, title, INTERVALS + note, words.description, drawing.svg, points, drawing.written_as)


def _means(curve: Curve, arms: pd.DataFrame, read: ReadCurves) -> pd.DataFrame:
    """Per arm and epoch: series, family, epoch, x (the epoch), value, half_width, n, seconds so far."""
    if arms.empty:
        return pd.DataFrame()
    owners = {run: place for place, runs in enumerate(arms["run_ids"]) for run in runs}
    values = read(list(owners), curve.metric)
    if curve.logarithmic:
        values = values[values["value"] > 0]
    groups = values.assign(arm=values["run_id"].map(owners)).groupby(["arm", "epoch"])["value"]
    points = groups.agg(["mean", "std", "count"]).reset_index()
    labels, families = own_names(arms, arms["arm"]), arms["family"].tolist()
    pace = (arms["train_seconds"] / arms["epochs"]).to_numpy(dtype=float)
    return pd.DataFrame({
        "series": [labels[arm] for arm in points["arm"]], "family": [families[arm] for arm in points["arm"]],
        "epoch": points["epoch"], "x": points["epoch"].astype(float), "value": points["mean"],
        "half_width": interval_half_width(points["std"], points["count"]), "n": points["count"],
        "seconds": points["epoch"] * np.array([pace[arm] for arm in points["arm"]]),
    })  # fmt: skip
