"""Which pictures a sweep deserves, and the frames they are drawn from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import same_problem
from reports.analysis.likeness import Likeness, Positions
from reports.document.blocks import Figure, slug
from reports.pictures import figures
from reports.pictures.figures import Words
from search_spaces.arm_words import DATASET_NAMES, NETWORK_NAMES
from trainers.costs.registry import COSTS
from trainers.readable import counted, percent

MOST_ROWS = 60  # arms in one picture with a row each
MOST_LINES = 8  # in one picture
NAMED_ARMS = 6  # up to here every point is named; beyond, those on the front and learned weights
INTERVALS = (
    "Bars are Student-t 95 % intervals of the mean over seeds, cut where they leave the frame; hollow marks are single "
    "trials, without one."
)
SPLIT = frozenset({"slot_epochs", "finetune_epochs"})


def figures_of(arms: pd.DataFrame, name: str) -> list[Figure]:
    """The pictures for the arms of one sweep, which is called `name` in file names."""
    found: list[Figure] = []
    for group in same_problem(arms):
        problem = problem_name(group.iloc[0])
        suffix = f"-{slug(problem)}" if len(same_problem(arms)) > 1 else ""
        found += _by_arm(group, f"{name}-arms{suffix}", problem)
        group = group.reset_index(drop=True)
        likeness = Likeness(group)
        found += _over_options(group, likeness, f"{name}-options{suffix}", problem)
        found += _over_splits(group, likeness, f"{name}-splits{suffix}", problem)
        for cost in COSTS:
            for place, same in enumerate(same_problem(group, cost)):
                number = f"-{place + 1}" if place else ""
                device = f" on {same['device'].iloc[0]}" if len(same_problem(group, cost)) > 1 else ""
                found += _against_cost(same, cost, f"{name}-{slug(cost)}{suffix}{number}", problem, device)
    return found


def problem_name(arm: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """'Lenet on MNIST'."""
    network, dataset = str(arm["network"]), str(arm["dataset"])
    return f"{NETWORK_NAMES.get(network, network)} on {DATASET_NAMES.get(dataset, dataset)}"


def _by_arm(arms: pd.DataFrame, name: str, problem: str) -> Iterator[Figure]:
    if not 2 <= len(arms) <= MOST_ROWS:
        return
    points = _points(arms)
    points["below"] = _below(points)
    title = f"{problem}: test accuracy of every arm"
    words = Words(name, title, described(points))
    caption = INTERVALS + (" ◂: below the scale, as written." if points["below"].any() else "")
    yield Figure(name, title, caption, words.description, figures.accuracy_by_arm(points, words), points)


def _against_cost(arms: pd.DataFrame, cost: str, name: str, problem: str, device: str) -> Iterator[Figure]:
    """Nothing where all arms cost the same: then the costs are one number, not a picture."""
    arms = arms[arms[cost].notna()]
    if len(arms) < 2 or float(arms[cost].max()) <= 1.01 * float(arms[cost].min()):
        return
    kind = COSTS[cost]
    divisor, unit = kind.unit.of_axis(float(arms[cost].max()))
    points = _points(arms).assign(
        cost=arms[cost] / divisor, cost_half_width=arms[f"{cost}_half_width"] / divisor, front=arms[f"front_{cost}"]
    )
    points["shown"] = points["front"] & ~points.duplicated(["cost", "accuracy"])  # of equals one, where there are many
    points["named"] = points["shown"] | (points["family"] == "learned") | (len(points) <= NAMED_ARMS)
    title = f"{problem}: test accuracy against {kind.phrase[0].lower()}{kind.phrase[1:]}{device}"
    front = [str(label) for label in points.loc[points["front"], "label"]]
    alternative = f"On the Pareto front: {'; '.join(front)}. All: {described(points, unit)}"
    words = Words(name, title, alternative)
    where = f", on {arms['device'].iloc[0]}" if kind.of_machine and arms["device"].iloc[0] else ""
    caption = (
        f"Cost as if each trial ran alone{where}. {INTERVALS} The dashed step is the Pareto front of the means; "
        "arms of nearly equal cost stand side by side on a shade."
    )
    on_scale, note = _on_scale(points)
    caption = f"{caption} {note}".strip()
    label = f"{kind.phrase}, {unit}" if unit else kind.phrase
    drawn = figures.accuracy_against_cost(on_scale, label, kind.better == "higher", words)
    yield Figure(name, title, caption, alternative, drawn, points.drop(columns="shown").assign(unit=unit))


def _over_options(arms: pd.DataFrame, likeness: Likeness, name: str, problem: str) -> Iterator[Figure]:
    lines = likeness.groups(np.flatnonzero(arms["method"] == "slot_machine"), {"options"})
    points, left_out = _series(arms, lines, "options", r"K=\d+ ?")
    if points.empty:
        return
    title = f"{problem}: test accuracy against options per connection, K"
    baseline = _points(arms[arms["method"] == "learned"]).head(3)
    words = Words(name, title, f"{described(points)} {_described_baseline(baseline)}".strip())
    caption = f"{INTERVALS} {_baseline_note(baseline)}{_published_note(points)}{left_out}".strip()
    on_scale, note = _on_scale(points)
    caption = f"{caption} {note}".strip()
    drawn = figures.accuracy_over(on_scale, baseline, "Options per connection, K", True, words)
    yield Figure(name, title, caption, words.description, drawn, points)


def _over_splits(arms: pd.DataFrame, likeness: Likeness, name: str, problem: str) -> Iterator[Figure]:
    budgets = (arms["slot_epochs"] + arms["finetune_epochs"]).astype(int)
    for budget in sorted(set(budgets[(arms["slot_epochs"] > 0) & (arms["finetune_epochs"] > 0)])):
        split = np.flatnonzero((budgets == budget) & (arms["slot_epochs"] > 0))
        points, left_out = _series(arms, likeness.groups(split, SPLIT), "slot_epochs", r",? \d+\+\d+ epochs")
        if points.empty:
            continue
        title = f"{problem}: test accuracy against slot epochs, {budget} epochs in all"
        baseline = _points(arms[(arms["method"] == "learned") & (budgets == budget)]).head(3)
        own = f"{name}-{budget}"
        words = Words(own, title, f"{described(points)} {_described_baseline(baseline)}".strip())
        caption = f"The rest of the epochs is finetuning. {INTERVALS} {_baseline_note(baseline)}{left_out}".strip()
        drawn = figures.accuracy_over(points, baseline, f"Slot epochs, of {budget}", False, words)
        yield Figure(own, title, caption, words.description, drawn, points)


def _points(arms: pd.DataFrame) -> pd.DataFrame:
    columns = {"arm": "label", "family": "family", "test_accuracy": "accuracy",
               "test_accuracy_half_width": "half_width", "n": "n"}  # fmt: skip
    return arms[list(columns)].rename(columns=columns)


def _series(arms: pd.DataFrame, groups: list[Positions], x: str, varying: str) -> tuple[pd.DataFrame, str]:
    """Groups of arms as lines over the field `x`, each called by its arms' label without what varies along it.

    Of many lines the best few, by validation, and a sentence that says so.
    """
    values, accuracy = arms[x].to_numpy(dtype=float), arms["validation_accuracy"].to_numpy(dtype=float)
    wide = [group for group in groups if len(set(values[group])) > 1]
    best = sorted(wide, key=lambda group: -max(np.nan_to_num(accuracy[group], nan=-1.0)))[:MOST_LINES]
    note = (
        f"Shown: the best {MOST_LINES} of {len(wide)} lines by validation accuracy. " if len(wide) > MOST_LINES else ""
    )
    lines: list[pd.DataFrame] = []
    names: list[str] = []
    for group in (arms.iloc[group] for group in sorted(best, key=lambda group: group[0])):
        name = re.sub(varying, "", str(group["arm"].iloc[-1])).strip(" ,")
        names.append(name)
        family = group["family"].mode().iloc[0]
        same_family = sum(line["family"].iloc[0] == family for line in lines)
        label = name if names.count(name) == 1 else f"{name} ({names.count(name)})"
        line = _points(group).assign(series=label, style=same_family % 4, x=group[x].astype(float))
        line["label"], line["family"], line["published"] = group["arm"], family, group["published"]
        lines.append(line)
    return (pd.concat(lines, ignore_index=True) if lines else pd.DataFrame()), note


def _below(points: pd.DataFrame) -> pd.Series[Any]:
    """Which points are so far below all others (untrained networks, say) that drawing them would squash the rest."""
    heights = points["accuracy"].sort_values().to_numpy(dtype=float)
    gaps = np.diff(heights)
    if len(gaps) < 2:
        return pd.Series(False, index=points.index)
    widest = int(gaps.argmax())
    rest = heights[-1] - heights[widest + 1]
    squashed = gaps[widest] > max(0.1, 2 * rest) and widest + 2 < len(heights)
    return points["accuracy"] <= heights[widest] if squashed else pd.Series(False, index=points.index)


def _on_scale(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The points to draw, and a sentence about those that lie below them."""
    below = _below(points)
    if not below.any():
        return points, ""
    return points[~below], f"Off the scale, below: {described(points[below])}"


def described(points: pd.DataFrame, unit: str = "") -> str:
    """The points in words, best first: the text alternative of a figure."""
    rows: list[Any] = list(points.sort_values("accuracy", ascending=False).itertuples())
    said = [
        f"{row.label} {percent(row.accuracy, row.half_width)} % (n = {row.n}"
        + (f", at {row.cost:.3g} {unit})" if unit else ")")
        for row in rows[:12]
    ]
    more = f"; and {counted(len(rows) - 12, 'more arm')}" if len(rows) > 12 else ""
    return "; ".join(said) + more + "."


def _described_baseline(baseline: pd.DataFrame) -> str:
    return f"For comparison: {described(baseline)}" if len(baseline) else ""


def _baseline_note(baseline: pd.DataFrame) -> str:
    return "The band across is the interval of learned weights. " if len(baseline) else ""


def _published_note(points: pd.DataFrame) -> str:
    return (
        "Dashed with small rings: published values, most of them read off a figure. "
        if points["published"].notna().any()
        else ""
    )
