"""What a report says first: the answer in a sentence, accuracy against cost, the Pareto front, the claims."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import pandas as pd

from reports.analysis.arms import best_by, counted_trials, same_problem
from reports.analysis.costs import STORED, TICKET, costs_to_show, with_tickets
from reports.analysis.paper_claims import Judgement
from reports.analysis.statistics import Difference, welch
from reports.document.blocks import Block, Cell, Choice, Column, Figure, Paragraph, Table, Verdict, slug
from reports.pictures.charts import problem_name
from reports.pictures.cost_charts import cost_figures
from reports.sections import provenance
from reports.sections.evidence import claims_tables
from reports.sections.tables import accuracy
from reports.tracked.runs import Tracked
from trainers.costs.registry import cost_named
from trainers.readable import interval, lowered, percent, points

MOST_ROWS = 5  # of the front; with several problems fewer of each
MOST_OF_SEVERAL = 3
ABOUT_ALIKE = 1.05  # files whose sizes differ by less


def first_screen(
    tracked: Tracked, arms: pd.DataFrame, trials: pd.DataFrame, judged: Sequence[Judgement], missing: Sequence[str],
    name: str,
) -> list[Block]:  # fmt: skip
    """The answer on one screen. arms, trials: of all sweeps, each recipe once. Its figures are called `name`."""
    blocks: list[Block] = [*provenance.partial(tracked, missing), *provenance.apart(tracked.trials)]
    arms = with_tickets(arms)
    said = [Verdict(sentence) for problem in same_problem(arms) for sentence in verdicts(problem, trials)]
    blocks += said or [Paragraph("No trial has completed yet, so there is nothing to average.")]
    options: list[tuple[str, list[Figure | Table]]] = []
    for cost in costs_to_show(arms[arms["n"] > 0]):
        pictures = cost_figures(arms, cost, name)
        if pictures:
            options.append((cost_named(cost).title, [*pictures, front_table(arms, trials, cost)]))
    if options:
        blocks.append(Choice("against", "Test accuracy against", options))
    return [*blocks, *claims_tables(judged)]


def verdicts(arms: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """For one problem: what its best random weights reach, beside learned weights; then what the best of all reaches.

    Arms are chosen by validation accuracy, and told by their accuracy on test.
    """
    learned = arms[arms["family"] == "learned"]
    random = arms[(arms["method"] != "learned") & (arms["finetune_epochs"].fillna(0) == 0) & arms["conversion"].isna()]
    baseline = best_by(learned, "validation_accuracy") if len(learned) else None
    best = best_by(arms, "validation_accuracy")
    first = best_by(random, "validation_accuracy") if len(random) else best
    problem = problem_name(best)
    said = [f"{problem}: {_reached(first)}{_beside(first, baseline, trials)}."]
    if best["arm_hash"] != first["arm_hash"] and best["family"] != "learned":
        said.append(f"Best by validation: {_reached(best)}{_beside(best, baseline, trials)}.")
    return said


def front_table(arms: pd.DataFrame, trials: pd.DataFrame, cost: str) -> Table:
    """The arms that no other beats in accuracy and this cost, the most accurate first, beside learned weights."""
    kind, problems = cost_named(cost), same_problem(arms)
    most = MOST_ROWS if len(problems) == 1 else MOST_OF_SEVERAL
    rows, data = [], []
    for group in problems:
        learned = group[group["family"] == "learned"]
        baseline = best_by(learned, "validation_accuracy") if len(learned) else None
        front = group[group[f"front_{cost}"]].sort_values("test_accuracy", ascending=False, kind="stable")
        for _, arm in front.head(most).iterrows():
            found = _difference(arm, baseline, trials)
            where = [Cell(problem_name(arm))] if len(problems) > 1 else []
            rows.append([
                Cell(arm["arm"], family=arm["family"], arm=arm["arm"]), *where, accuracy(arm, "test_accuracy"),
                Cell(counted_trials(arm), int(arm["n"])), Cell(kind.unit.print(float(arm[cost])), float(arm[cost])),
                Cell(points(found.mean), None if isnan(found.mean) else found.mean),
                Cell(interval(100 * found.low, 100 * found.high)),
            ])  # fmt: skip
        data.append(front[["network", "dataset", "arm", "test_accuracy", "test_accuracy_half_width", "n", cost]])
    columns = [
        Column("Arm", numeric=False), *([Column("Problem", numeric=False)] if len(problems) > 1 else []),
        Column("Test accuracy", "%"), Column("n"), Column(kind.title, kind.unit.heads_column),
        Column("Against learned", "points"), Column("95 % interval"),
    ]  # fmt: skip
    caption = f"On the Pareto front against {lowered(kind.phrase)}"
    left = sum(len(frame) for frame in data) - len(rows)
    notes = [f"The most accurate; {left} cheaper ones are in the CSV."] if left else []
    return Table(f"front-{slug(cost)}", caption, columns, rows, notes, pd.concat(data))


def _reached(arm: pd.Series[Any]) -> str:
    """'K=8 GS reaches 98.21 ± 0.14 % (n = 4)'."""
    score = percent(float(arm["test_accuracy"]), float(arm["test_accuracy_half_width"]))
    return f"{arm['arm']} reaches {score} % on test (n = {counted_trials(arm)})"


def _beside(arm: pd.Series[Any], baseline: pd.Series[Any] | None, trials: pd.DataFrame) -> str:
    """', 0.16 points below learned weights (95 % interval −0.30 to −0.02), in a file 1/28 the size (33 kB)'."""
    if baseline is None or baseline["arm_hash"] == arm["arm_hash"]:
        return ""
    found = _difference(arm, baseline, trials)
    side = "below" if found.mean < 0 else "above"
    between = "" if isnan(found.low) else f" (95 % interval {interval(100 * found.low, 100 * found.high)})"
    return f", {abs(100 * found.mean):.2f} points {side} {baseline['arm']}{between}{_file(arm, baseline)}"


def _file(arm: pd.Series[Any], baseline: pd.Series[Any]) -> str:
    """', in a file 1/28 the size (33.0 kB)'."""
    cost = STORED if isnan(arm[TICKET]) or isnan(baseline[TICKET]) else TICKET
    own, other = float(arm[cost]), float(baseline[cost])
    if isnan(own) or isnan(other):
        return ""
    size = f" ({cost_named(TICKET).unit.print(own)})" if cost == TICKET else ""
    if max(own, other) < ABOUT_ALIKE * min(own, other):
        return f", in a file as large{size}"
    return (
        f", in a file 1/{other / own:.0f} the size{size}"
        if own < other
        else f", in a file {own / other:.1f} times the size{size}"
    )


def _difference(arm: pd.Series[Any], baseline: pd.Series[Any] | None, trials: pd.DataFrame) -> Difference:
    accuracies = trials.set_index("run_id")["test_accuracy"]
    others = [] if baseline is None or baseline["arm_hash"] == arm["arm_hash"] else list(baseline["run_ids"])
    return welch(accuracies[list(arm["run_ids"])], accuracies[others])
