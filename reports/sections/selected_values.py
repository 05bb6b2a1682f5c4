"""What gets selected, as a section: sentences, tables and pictures of the best arm of every family that selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import best_by, same_problem
from reports.analysis.statistics import paired
from reports.document.blocks import Block, Paragraph, Points, Section, slug
from reports.pictures.charts import problem_name
from reports.pictures.curves import CHANGED, EXTREMES, ReadCurves, along_epochs
from reports.pictures.selected import quarters, ranks
from reports.sections.selected_tables import agreement_table, machines_table, mask_table, options_table
from reports.tracked.snapshots import extremes, layers_frame
from trainers.readable import interval, percent, points

ReadTexts = Callable[[Sequence[str], str], Mapping[str, str]]  # runs, artifact -> its text by run, where it is there
ARTIFACT = "selection.json"
MOST_SEEDS = 10  # of an arm
INTRODUCTION = (
    "Which of its fixed random values a connection ends with, for the best arm of each family by validation. The score "
    "of option k is c·s(0) + w·B, where w is its value and B, the same for all options of a connection, is trained: so "
    "the more |B| grows, the more a slot machine should use the values on B's own end, the largest where B is above 0 "
    "and the smallest where it is below."
)


def selection_sections(arms: pd.DataFrame, read: ReadCurves, read_texts: ReadTexts) -> list[Section]:
    """The section, or nothing where no trial tells what it selected."""
    inner = []
    for place, problem in enumerate(same_problem(arms)):
        chosen = _chosen(problem)
        if len(chosen):
            name = problem_name(problem.iloc[0])
            blocks = _problem(chosen, f"selected-{place + 1}", name, read, read_texts)
            blocks += [table] if (table := machines_table(problem, f"selected-{place + 1}")) else []
            inner += [Section(name, f"selected-{slug(name)}-{place + 1}", blocks)] if blocks else []
    if not inner:
        return []
    return [Section("What gets selected", "what-gets-selected", [Paragraph(INTRODUCTION)], inner, folded=True)]


def _chosen(arms: pd.DataFrame) -> pd.DataFrame:
    """The best arm of each family that selects; finetuning does not select, so it makes no family of its own."""
    selecting = arms[(arms["slot_epochs"].fillna(0) > 0) & ((arms["options"].fillna(2) > 1) | arms["options"].isna())]
    families = selecting["family"].str.removesuffix("_finetuned")
    chosen = [best_by(family, "validation_accuracy") for _, family in selecting.groupby(families, sort=False)]
    return pd.DataFrame(chosen).reset_index(drop=True)


def _problem(arms: pd.DataFrame, name: str, title: str, read: ReadCurves, read_texts: ReadTexts) -> list[Block]:
    owners = {run: place for place, runs in enumerate(arms["run_ids"]) for run in runs[:MOST_SEEDS]}
    layers = layers_frame(read_texts(list(owners), ARTIFACT))
    layers = layers.assign(arm=layers["run_id"].map(owners).astype(int))
    machines = arms[arms["method"] == "slot_machine"]
    pictures = [
        *along_epochs(CHANGED, arms, f"{name}-changed", read),
        *along_epochs(EXTREMES, machines, f"{name}-extremes", read),
    ]
    for place in machines.index:
        own = layers[layers["arm"] == place]
        pictures += [*ranks(own, arms.loc[place], f"{name}-ranks-{place + 1}", title),
                     *quarters(own, arms.loc[place], f"{name}-pull-{place + 1}", title)]  # fmt: skip
    lines = [line for place in machines.index for line in _findings(layers[layers["arm"] == place], arms.loc[place])]
    lines += _signed_constants(layers, arms)
    tables = (options_table(layers, arms, name), mask_table(layers, arms, name), agreement_table(layers, arms, name))
    return [*([Points(lines)] if lines else []), *(table for table in tables if table), *pictures]


def _findings(layers: pd.DataFrame, arm: pd.Series[Any]) -> Iterator[str]:
    """Whether the extremes win as |B| grows: a sentence whose verdict is computed."""
    last = layers[layers["last"] & (layers["by_pull"].map(len) > 0)]
    if last.empty:
        return
    use_own_end = {}
    for name, quarter in (("low", 0), ("high", 3)):
        own, all_ = ([rows[quarter][2] for rows in last["by_pull"]], [sum(rows[quarter]) for rows in last["by_pull"]])
        totals = pd.DataFrame({"run": last["run_id"], "own": own, "all": all_}).groupby("run").sum()
        use_own_end[name] = totals["own"] / totals["all"]
    low, high = use_own_end["low"], use_own_end["high"]
    found = paired(high, low)
    if np.isnan(found.low):
        verdict = "one seed gives no interval"
    else:
        verdict = (
            "as the algebra predicts" if found.low > 0 else "against what the algebra predicts" if found.high < 0
            else "no difference that the seeds bear out"
        )  # fmt: skip
        verdict += f" (95 % interval {interval(100 * found.low, 100 * found.high)} points)"
    yield (
        f"{arm['arm']}: {percent(high.mean())} % of the quarter of connections with the largest |B| use the value on "
        f"B's end, {percent(low.mean())} % of the quarter with the smallest, n = {len(low)}; by chance "
        f"{percent(1 / arm['options'])} %. A difference of {points(found.mean)} points: {verdict}."
    )


def _signed_constants(layers: pd.DataFrame, arms: pd.DataFrame) -> Iterator[str]:
    """How edge-popup with signed constants relates, where both were trained."""
    popups = arms[(arms["family"] == "edge_popup") & (arms["weight_init"] == "signed_constant")]
    machines = arms[arms["method"] == "slot_machine"]
    last = layers[layers["last"]]
    if popups.empty or machines.empty:
        return
    machine, popup = best_by(machines, "validation_accuracy"), popups.iloc[0]
    used = last[last["arm"] == machine.name]
    share = np.average(extremes(used), weights=used["connections"]) if len(used) else np.nan
    yield (
        f"Edge-popup with signed constants chooses between 0 and one value of fixed size and sign; a connection of a "
        f"slot machine that uses an extreme has chosen the sign of a value near the bound. {percent(share)} % of those "
        f"of {machine['arm']} do. Test accuracy: {_accuracy(popup)} against {_accuracy(machine)}."
    )


def _accuracy(arm: pd.Series[Any]) -> str:
    return f"{percent(arm['test_accuracy'], arm['test_accuracy_half_width'])} %"
