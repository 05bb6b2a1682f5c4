"""Which pictures a sweep deserves, and the frames they are drawn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.analysis.arms import ARM_FIELDS, FAMILIES, same_problem
from reports.analysis.likeness import Likeness, Positions
from reports.document.blocks import Figure, slug
from reports.pictures import figures
from reports.pictures.canvas import Words
from reports.tracked.trials import RECIPE_KINDS
from search_spaces.arm_words import dataset_name, network_name
from search_spaces.row_names import in_common
from trainers.readable import counted, percent

MOST_ROWS = 60  # arms in one picture with a row each
MOST_LINES = 8  # in one picture
INTERVALS = (
    "Bars are Student-t 95 % intervals of the mean over seeds, cut where they leave the frame; hollow marks are single "
    "trials, without one."
)
OF_A_LINE = (
    "arm", "network", "dataset", "family", "test_accuracy", "test_accuracy_half_width", "validation_accuracy", "n",
    "published",
)  # fmt: skip
SPLIT = frozenset({"slot_epochs", "finetune_epochs"})
NOT_ALONG = SPLIT | {"options", "split_seed"}  # have pictures of their own, or make no picture
FIELD_WORDS = {"width": "width of the network", "keep_fraction": "share of connections kept"}


def figures_of(arms: pd.DataFrame, name: str) -> list[Figure]:
    """The pictures for the arms of a sweep called `name` in file names: along what varies, then of all arms."""
    found: list[Figure] = []
    problems = same_problem(arms)
    for group in problems:
        problem = problem_name(group.iloc[0])
        suffix = f"-{slug(problem)}" if len(problems) > 1 else ""
        group = group.reset_index(drop=True)
        likeness = Likeness(group)
        along = [
            *_over_options(group, likeness, f"{name}-options{suffix}", problem),
            *_over_splits(group, likeness, f"{name}-splits{suffix}", problem),
        ]
        for field in varying_fields(group):
            along += _over_field(group, likeness, field, f"{name}-{slug(field)}{suffix}", problem)
        found += [*along, *_by_arm(group, f"{name}-arms{suffix}", problem)]
    return found


def varying_fields(arms: pd.DataFrame) -> list[str]:
    """The fields with a number, other than K and the lengths of phases, in which some of these arms differ."""
    numbers = [field for field in ARM_FIELDS if field not in NOT_ALONG and RECIPE_KINDS[field] in (int, float)]
    return [field for field in numbers if arms[field].nunique() > 1]


def problem_name(arm: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """'Lenet on MNIST'."""
    network, dataset = str(arm["network"]), str(arm["dataset"])
    return f"{network_name(network)} on {dataset_name(dataset)}"


def _by_arm(arms: pd.DataFrame, name: str, problem: str) -> Iterator[Figure]:
    if not 2 <= len(arms) <= MOST_ROWS:
        return
    points = points_of(arms)
    points["below"] = below(points)
    title = f"{problem}: test accuracy of every arm"
    words = Words(name, title, described(points))
    caption = INTERVALS + (" ◂: below the scale, as written." if points["below"].any() else "")
    drawing = figures.accuracy_by_arm(points, words)
    yield Figure(name, title, caption, words.description, drawing.svg, data_of(points), drawing.written_as)


def _over_options(arms: pd.DataFrame, likeness: Likeness, name: str, problem: str) -> Iterator[Figure]:
    lines = likeness.groups(np.flatnonzero(arms["method"] == "slot_machine"), {"options"})
    points, left_out = _series(arms, lines, "options")
    if points.empty:
        return
    title = f"{problem}: test accuracy against options per connection, K"
    baseline = points_of(arms[arms["family"] == "learned"]).head(3)
    words = Words(name, title, f"{described(points)} {_described_baseline(baseline)}".strip())
    caption = f"{INTERVALS} {_baseline_note(baseline)}{_published_note(points)}{left_out}".strip()
    on_scale, note = on_scale_of(points)
    caption = f"{caption} {note}".strip()
    drawing = figures.accuracy_over(on_scale, baseline, "Options per connection, K", True, words)
    yield Figure(name, title, caption, words.description, drawing.svg, data_of(points), drawing.written_as)


def _over_splits(arms: pd.DataFrame, likeness: Likeness, name: str, problem: str) -> Iterator[Figure]:
    budgets = (arms["slot_epochs"] + arms["finetune_epochs"]).astype(int)
    for budget in sorted(set(budgets[(arms["slot_epochs"] > 0) & (arms["finetune_epochs"] > 0)])):
        split = np.flatnonzero((budgets == budget) & (arms["slot_epochs"] > 0))
        points, left_out = _series(arms, likeness.groups(split, SPLIT), "slot_epochs")
        if points.empty:
            continue
        title = f"{problem}: test accuracy against slot epochs, {budget} epochs in all"
        baseline = points_of(arms[(arms["family"] == "learned") & (budgets == budget)]).head(3)
        own = f"{name}-{budget}"
        words = Words(own, title, f"{described(points)} {_described_baseline(baseline)}".strip())
        caption = f"The rest of the epochs is finetuning. {INTERVALS} {_baseline_note(baseline)}{left_out}".strip()
        own_values = points.assign(published=np.nan)  # published values are of no budget that is split
        drawing = figures.accuracy_over(own_values, baseline, f"Slot epochs, of {budget}", False, words)
        yield Figure(own, title, caption, words.description, drawing.svg, data_of(points), drawing.written_as)


def _over_field(arms: pd.DataFrame, likeness: Likeness, field: str, name: str, problem: str) -> Iterator[Figure]:
    """Accuracy along any other field with a number, a line for arms that are alike in all else."""
    known = np.flatnonzero(arms[field].notna())
    points, left_out = _series(arms, likeness.groups(known, {field}), field)
    if points.empty:
        return
    words_of_field = FIELD_WORDS.get(field, field.replace("_", " "))
    title = f"{problem}: test accuracy against {words_of_field}"
    words = Words(name, title, described(points))
    low, high = float(points["x"].min()), float(points["x"].max())
    on_scale, note = on_scale_of(points.assign(published=np.nan))
    caption = f"{INTERVALS} {left_out}{note}".strip()
    label = f"{words_of_field[0].upper()}{words_of_field[1:]}"
    drawing = figures.accuracy_over(on_scale, points.head(0), label, low > 0 and high > 4 * low, words)
    yield Figure(name, title, caption, words.description, drawing.svg, data_of(points), drawing.written_as)


def points_of(arms: pd.DataFrame) -> pd.DataFrame:
    """What a picture of one problem has of its arms: label, family, accuracy, half_width, n, name.

    The name is the label without the network and the data set, which the title says.
    """
    columns = {"arm": "label", "family": "family", "test_accuracy": "accuracy",
               "test_accuracy_half_width": "half_width", "n": "n"}  # fmt: skip
    return arms[list(columns)].rename(columns=columns).assign(name=own_names(arms, arms["arm"]))


def data_of(points: pd.DataFrame) -> pd.DataFrame:
    """The numbers of a picture, as its file has them: by label, which tells arms of a whole report apart."""
    return points.drop(columns="name")


def own_names(arms: pd.DataFrame, labels: Iterable[str]) -> list[str]:
    """What of these labels of arms of one problem does not say which one it is."""
    if arms.empty:
        return []
    network, dataset = network_name(arms["network"].iloc[0]), dataset_name(arms["dataset"].iloc[0])
    return [label.removeprefix(f"{network} ").removeprefix(f"{dataset} ") or label for label in labels]


def lines_along(arms: pd.DataFrame, groups: list[Positions], field: str) -> list[tuple[str, pd.DataFrame]]:
    """Groups of arms of one problem in which the field varies, by what the arms' names have in common; few columns."""
    values, labels = arms[field].to_numpy(), np.array(own_names(arms, arms["arm"]))
    narrow = arms[
        list(dict.fromkeys([*OF_A_LINE, field]))
    ]  # to take rows of all columns would take longer than the rest
    lines: list[tuple[str, pd.DataFrame]] = []
    names: Counter[str] = Counter()
    for group in groups:
        if len(set(values[group])) > 1:
            line = narrow.iloc[group]
            name = in_common(labels[group].tolist()) or FAMILIES[line["family"].mode().iloc[0]]
            names[name] += 1
            lines.append((name if names[name] == 1 else f"{name} ({names[name]})", line))
    return lines


def best_lines(lines: list[tuple[str, pd.DataFrame]], most: int) -> list[tuple[str, pd.DataFrame]]:
    """So many lines of those with the best arms by validation, in the order that they had."""
    heights = [np.nan_to_num(line["validation_accuracy"].to_numpy(dtype=float), nan=-1.0).max() for _, line in lines]
    return [lines[place] for place in sorted(np.argsort(-np.array(heights), kind="stable")[:most])]


def _series(arms: pd.DataFrame, groups: list[Positions], x: str) -> tuple[pd.DataFrame, str]:
    """Groups of arms as lines over the field `x`; of many the best few, by validation, and a sentence that says so."""
    lines = lines_along(arms, groups, x)
    note = (
        f"Shown: the best {MOST_LINES} of {len(lines)} lines by validation accuracy. "
        if len(lines) > MOST_LINES else ""
    )  # fmt: skip
    found: list[pd.DataFrame] = []
    for label, group in best_lines(lines, MOST_LINES):
        family = group["family"].mode().iloc[0]
        same_family = sum(line["family"].iloc[0] == family for line in found)
        line = points_of(group).assign(series=label, style=same_family % 4, x=group[x].astype(float))
        line["family"], line["published"] = family, group["published"]
        found.append(line)
    return (pd.concat(found, ignore_index=True) if found else pd.DataFrame()), note


def below(points: pd.DataFrame) -> pd.Series[Any]:
    """Which points are so far below all others (untrained networks, say) that drawing them would squash the rest."""
    heights = points["accuracy"].sort_values().to_numpy(dtype=float)
    gaps = np.diff(heights)
    if len(gaps) < 2:
        return pd.Series(False, index=points.index)
    widest = int(gaps.argmax())
    rest = heights[-1] - heights[widest + 1]
    squashed = gaps[widest] > max(0.1, 2 * rest) and widest + 2 < len(heights)
    return points["accuracy"] <= heights[widest] if squashed else pd.Series(False, index=points.index)


def on_scale_of(points: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The points to draw, and a sentence about those that lie below them."""
    left_out = below(points)
    if not left_out.any():
        return points, ""
    return points[~left_out], f"Off the scale, below: {described(points[left_out])}"


def described(points: pd.DataFrame, unit: str = "", most: int = 12) -> str:
    """The points in words, best first: the text alternative of a figure."""
    rows: list[Any] = list(points.sort_values("accuracy", ascending=False).itertuples())
    said = [
        f"{row.label} {percent(row.accuracy, row.half_width)} % (n = {row.n}"
        + (f", at {row.cost:.3g} {unit})" if unit else ")")
        for row in rows[:most]
    ]
    more = f"; and {counted(len(rows) - most, 'more arm')}" if len(rows) > most else ""
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
