"""Values that a whole network shares: accuracy by their mean, trial by trial, as a section.

The K values of a trial follow from its seed, so they need not have been stored. How we came to ask for their mean is in
docs/experiments.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy import stats

from reports.analysis.paper_claims import WORKS
from reports.document.blocks import Block, Cell, Column, Figure, Points, Section, Table, slug
from reports.pictures import figures
from reports.pictures.canvas import Words
from reports.pictures.charts import problem_name
from reports.tracked.trials import COMPLETED, RECIPE_KINDS
from trainers.numerics import NUMERICS_VERSION
from trainers.readable import MISSING, counted, percent, signed

FEWEST = 8  # trials that show something
EDGES = (-1.0, -0.3, -0.15, -0.05, 0.05, 0.15, 0.3, 1.0)  # of the mean, in units of the bound
ALIKE = tuple(field for field in RECIPE_KINDS if field not in ("sharing", "filled"))
NUMBERS = ("above", "to", "trials", "compared", "works", "lowest", "median", "highest")  # of the table's data
NOTE = (
    "Mean: of the K values that all connections of the network share, in units of each layer's bound. At the start "
    "every value is selected equally often, so their mean is a common part of all weights, and as ReLU passes on "
    "nothing negative, the units of the next layer move together. Works: costs less than "
    f"{100 * WORKS:g} point of test accuracy against the same recipe and seed with values of one's own, where that was "
    "trained."
)


def shared_values_sections(trials: pd.DataFrame) -> list[Section]:
    """The section, or nothing where too few trials share values over the network. trials: each recipe once."""
    done = trials[(trials["status"] == COMPLETED) & trials["test_accuracy"].notna()]
    # Another version may have drawn other values.
    ours = (done["numerics_version"] == str(NUMERICS_VERSION)) & done["options"].notna()
    independent = done["value_layout"].isna()  # of others the mean follows from the layout
    shared = done[ours & independent & (done["sharing"] == "network") & (done["selection"] == "greedy")]
    if len(shared) < FEWEST:
        return []
    shared = shared.assign(mean=_means(shared), lost=_lost(shared, done))
    blocks: list[Block] = []
    for place, (_, group) in enumerate(shared.groupby(["network", "dataset"], sort=False)):
        if len(group) >= FEWEST:
            blocks += _problem(group, f"shared-values-{place + 1}")
    if not blocks:
        return []
    return [Section("Values shared by the network", slug("shared values"), blocks, folded=True)]


def _means(trials: pd.DataFrame) -> list[float]:
    from trainers.kernels.options import values_of_the_network  # imports torch, which takes a second

    pairs = zip(trials["seed"], trials["options"], strict=True)
    return [float(values_of_the_network(int(seed), int(count)).mean()) for seed, count in pairs]


def _lost(shared: pd.DataFrame, done: pd.DataFrame) -> list[float]:
    """Test accuracy that sharing costs, against the same recipe with values of one's own; nan where there is none."""
    own = done[done["sharing"] == "none"]
    known = dict(zip(_recipes(own), own["test_accuracy"], strict=True))
    return [known.get(recipe, np.nan) - accuracy
            for recipe, accuracy in zip(_recipes(shared), shared["test_accuracy"], strict=True)]  # fmt: skip


def _recipes(trials: pd.DataFrame) -> Iterator[tuple[str, ...]]:
    return zip(*(trials[field].astype(str) for field in ALIKE), strict=True)


def _problem(trials: pd.DataFrame, name: str) -> Iterator[Block]:
    problem = problem_name(trials.iloc[0])
    by_mean = _rank_correlation(trials["mean"].abs(), trials["test_accuracy"])
    by_count = _rank_correlation(trials["options"].astype(float), trials["test_accuracy"])
    yield Points([
        f"{problem}, {counted(len(trials), 'trial')} with values shared by the network: rank correlation of test "
        f"accuracy with the distance of the values' mean from 0 {signed(by_mean)}, with the number of values "
        f"{signed(by_count)} (Spearman)."
    ])  # fmt: skip
    yield _table(trials, name, problem)
    yield _figure(trials, name, problem)


def _rank_correlation(first: pd.Series[float], second: pd.Series[float]) -> float:
    """Spearman's; nan where one of them has a single value."""
    if first.nunique() < 2 or second.nunique() < 2:
        return float("nan")
    return float(stats.spearmanr(first, second).statistic)


def _table(trials: pd.DataFrame, name: str, problem: str) -> Table:
    columns = [
        Column("Mean", "of the bound"), Column("Trials"), Column("Works"), Column("Lowest", "test accuracy, %"),
        Column("Median", "test accuracy, %"), Column("Highest", "test accuracy, %"),
    ]  # fmt: skip
    rows, data = [], []
    for low, high in pairwise(EDGES):
        inside = trials[(trials["mean"] > low) & (trials["mean"] <= high)]
        if inside.empty:
            continue
        accuracies = inside["test_accuracy"].quantile([0, 0.5, 1]).tolist()
        compared = inside["lost"].dropna()
        works = int((compared < WORKS).sum())
        share = Cell(f"{works} of {len(compared)}", works / len(compared)) if len(compared) else Cell(MISSING)
        rows.append([
            Cell(f"{signed(low, 2)} to {signed(high, 2)}", low), Cell(str(len(inside)), len(inside)),
            share, *(Cell(percent(accuracy), accuracy) for accuracy in accuracies),
        ])  # fmt: skip
        data.append([low, high, len(inside), len(compared), works, *accuracies])
    caption = f"{problem}: values shared by the network, by their mean"
    return Table(name, caption, columns, rows, [NOTE], pd.DataFrame(data, columns=list(NUMBERS)))


def _figure(trials: pd.DataFrame, name: str, problem: str) -> Figure:
    drawn = pd.DataFrame({
        "label": trials["name"], "family": "gs", "x": trials["mean"], "accuracy": trials["test_accuracy"],
        "options": trials["options"], "seed": trials["seed"],
    }).sort_values(["x", "label"], ignore_index=True)  # fmt: skip
    title = f"{problem}: test accuracy by the mean of the values that the network shares"
    middle = drawn["x"].abs().median()
    near, far = (drawn.loc[part, "accuracy"] for part in (drawn["x"].abs() <= middle, drawn["x"].abs() > middle))
    said = (
        f"Of the half with means within {middle:.2f} of 0 the median is {percent(near.median())} %, of the others "
        f"{percent(far.median()) if len(far) else MISSING} %."
    )
    words = Words(f"{name}-mean", title, said)
    drawing = figures.accuracy_of_trials(drawn, "Mean of the K shared values, in units of the bound", words)
    return Figure(words.name, title, "One mark per trial.", said, drawing.svg, drawn, drawing.written_as)
