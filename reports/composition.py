"""What a report says, in which order: tracked sweeps to a document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import pandas as pd

from reports import provenance
from reports.arms import apart_by_numerics, arms_of, best_by, mark_fronts, once_each, same_problem
from reports.charts import figures_of, problem_name
from reports.curves import ReadCurves, curves_of
from reports.document import Block, Document, Figure, Paragraph, Points, Section, distinct
from reports.evidence import claims_section
from reports.formats import counted, listed, percent, points
from reports.links import Links
from reports.reference import with_published
from reports.runs import Sweep, Tracked
from reports.searched import search_table
from reports.selection_section import ReadTexts, selection_sections
from reports.statistics import welch
from reports.tables import arm_table, budget_table, choice_table, numbers, published_table, trial_table


def compose(
    tracked: Tracked, links: Links, read: ReadCurves, read_texts: ReadTexts, missing: Sequence[str] = (),
    again: Sequence[str] = (),
) -> tuple[Document, pd.DataFrame]:  # fmt: skip
    """The whole report, and the arms of all sweeps as one table of numbers. again: the command that makes it again.

    Sweeps stand side by side; what compares across sweeps counts a trial that they share once.
    """
    tracked = replace(tracked, trials=apart_by_numerics(tracked.trials))
    names = [sweep.name for sweep in tracked.sweeps]
    arms = fronts_of_each_sweep(arms_table(tracked.trials, ("sweep", "arm_hash")))
    pooled_trials = once_each(tracked.trials)
    pooled = told_apart(arms_table(pooled_trials, ("arm_hash",)))
    sections = [
        Section(
            "In short",
            "in-short",
            [*provenance.not_launched(missing), *provenance.apart(tracked.trials), *_in_short(pooled, pooled_trials)],
        ),
        claims_section(pooled, pooled_trials, links),
        *_comparison(pooled),
    ]
    for sweep, anchor in zip(tracked.sweeps, distinct(names), strict=True):
        own = tracked.trials[tracked.trials["sweep"] == sweep.name]
        its_arms = arms[arms["sweep"] == sweep.name].reset_index(drop=True)
        pictures = [*figures_of(its_arms, anchor), *curves_of(its_arms, anchor, read)]
        sections.append(_sweep(sweep, anchor, own, its_arms, pictures, links, len(names) == 1))
    sections += selection_sections(pooled, read, read_texts)
    sections.append(provenance.section(tracked, links, again or ["sweeper", "report", *names, "-o", "DIR"]))
    title = names[0] if len(names) == 1 else counted(len(names), "sweep")
    return Document(title, tracked.sweeps[0].description if len(names) == 1 else listed(names), sections), numbers(arms)


def arms_table(trials: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Arms with their published counterparts and their places on the Pareto fronts."""
    return mark_fronts(with_published(arms_of(trials, by)))


def fronts_of_each_sweep(arms: pd.DataFrame) -> pd.DataFrame:
    """The arms, on the Pareto fronts of their own sweep: its tables and figures show no better arm of another sweep."""
    sweeps = [mark_fronts(own) for _, own in arms.groupby("sweep", sort=False)]
    return pd.concat(sweeps, ignore_index=True) if sweeps else arms


def told_apart(arms: pd.DataFrame) -> pd.DataFrame:
    """Arms of several sweeps under labels of their own: where two have the same one, the name of the sweep is added."""
    ambiguous = arms.duplicated(["network", "dataset", "arm"], keep=False)
    labels = arms["arm"].where(~ambiguous, arms["arm"] + " (" + arms["sweep"] + ")")
    again = arms.assign(arm=labels).duplicated(["network", "dataset", "arm"], keep=False)
    return arms.assign(arm=labels.where(~again, labels + " [" + arms["arm_hash"].str[:8] + "]"))


def _sweep(
    sweep: Sweep, anchor: str, trials: pd.DataFrame, arms: pd.DataFrame, pictures: list[Figure], links: Links,
    alone: bool,
) -> Section:  # fmt: skip
    blocks: list[Block] = [Paragraph(sweep.description)] if sweep.description and not alone else []
    blocks += provenance.imported(trials)
    blocks.append(provenance.at_a_glance(sweep, trials, arms))
    if notice := provenance.missing(sweep, trials):
        blocks.append(notice)
    if len(arms):
        if found := search_table(sweep, trials, arms, f"searched-{anchor}"):
            blocks.append(found)
        blocks.append(arm_table(arms, f"arms-{anchor}", "Accuracy and cost per arm", links))
        blocks += pictures
        blocks.append(trial_table(trials, f"trials-{anchor}", links))
    return Section(f"Sweep {sweep.name}", f"sweep-{anchor}", blocks)


def _comparison(arms: pd.DataFrame) -> list[Section]:
    tables = (published_table(arms, "published"), choice_table(arms, "best-options"), budget_table(arms, "same-epochs"))
    blocks: list[Block] = [table for table in tables if table]
    return [Section("Comparison", "comparison", blocks)] if blocks else []


def _in_short(arms: pd.DataFrame, trials: pd.DataFrame) -> list[Block]:
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
    return [Points(lines)] if lines else [Paragraph("No trial has completed yet, so there is nothing to average.")]


def _scored(arm: pd.Series[Any]) -> str:
    """'K=8 GS, with 97.09 ± 0.15 % test accuracy (n = 3, 40 epochs)'."""
    score = percent(float(arm["test_accuracy"]), float(arm["test_accuracy_half_width"]))
    return f"{arm['arm']}, with {score} % test accuracy (n = {arm['n']}, {arm['epochs']:g} epochs)"


def _gap(arm: pd.Series[Any], learned: pd.Series[Any], trials: pd.DataFrame) -> str:
    accuracies = trials.set_index("run_id")["test_accuracy"]
    found = welch(accuracies[list(arm["run_ids"])], accuracies[list(learned["run_ids"])])
    between = "" if isnan(found.low) else f" (95 % interval {points(found.low)} to {points(found.high)})"
    return f"{points(found.mean)} points{between}"
