"""What a report says first: what is missing, which claims hold, and which arm is best."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import Any

import pandas as pd

from reports.analysis.arms import best_by, counted_trials, same_problem
from reports.analysis.paper_claims import Judgement
from reports.analysis.statistics import welch
from reports.document.blocks import Block, Paragraph, Points
from reports.pictures.charts import problem_name
from reports.sections import provenance
from reports.sections.evidence import claims_table
from reports.tracked.runs import Tracked
from trainers.readable import percent, points


def in_short(
    tracked: Tracked, arms: pd.DataFrame, trials: pd.DataFrame, judged: Sequence[Judgement], missing: Sequence[str]
) -> list[Block]:
    """The answer on one screen. arms, trials: of all sweeps, each recipe once."""
    blocks: list[Block] = [*provenance.partial(tracked, missing), *provenance.apart(tracked.trials)]
    lines = _best(arms, trials)
    blocks.append(Points(lines) if lines else Paragraph("No trial has completed yet, so there is nothing to average."))
    if table := claims_table(judged):
        blocks.append(table)
    return blocks


def _best(arms: pd.DataFrame, trials: pd.DataFrame) -> list[str]:
    """For every problem: what was chosen by validation, what it scores on test, and where learned weights stand."""
    lines = []
    for group in same_problem(arms):
        chosen = best_by(group, "validation_accuracy")
        line = f"{problem_name(chosen)}: by validation accuracy the best arm is {_scored(chosen)}."
        others, learned = group[group["method"] != "learned"], group[group["method"] == "learned"]
        if len(others) and len(learned):
            best, baseline = best_by(others, "validation_accuracy"), best_by(learned, "validation_accuracy")
            gap = _gap(best, baseline, trials)
            if chosen["arm_hash"] == best["arm_hash"]:
                line += f" It differs by {gap} from {_scored(baseline)}."
            else:
                line += f" The best of the other methods, {_scored(best)}, differs from it by {gap}."
        lines.append(line)
    return lines


def _scored(arm: pd.Series[Any]) -> str:
    """'K=8 GS, with 97.09 ± 0.15 % test accuracy (n = 3, 40 epochs)'."""
    score = percent(float(arm["test_accuracy"]), float(arm["test_accuracy_half_width"]))
    return f"{arm['arm']}, with {score} % test accuracy (n = {counted_trials(arm)}, {arm['epochs']:g} epochs)"


def _gap(arm: pd.Series[Any], learned: pd.Series[Any], trials: pd.DataFrame) -> str:
    accuracies = trials.set_index("run_id")["test_accuracy"]
    found = welch(accuracies[list(arm["run_ids"])], accuracies[list(learned["run_ids"])])
    between = "" if isnan(found.low) else f" (95 % interval {points(found.low)} to {points(found.high)})"
    return f"{points(found.mean)} points{between}"
