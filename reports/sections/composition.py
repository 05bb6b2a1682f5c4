"""What a report says, in which order: tracked sweeps to a document."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from reports.analysis.arms import apart_by_numerics, arms_of, mark_fronts, once_each, stopped_together
from reports.analysis.published import with_published
from reports.analysis.requirements import ticked
from reports.document.blocks import Block, Document, Figure, Paragraph, Section, distinct
from reports.pictures.charts import figures_of
from reports.pictures.curves import ReadCurves, curves_of
from reports.request import Asked
from reports.sections import provenance
from reports.sections.against import against_section
from reports.sections.axes import axis_tables
from reports.sections.coverage import coverage_line, coverage_sections
from reports.sections.evidence import evidence_section, judge_all
from reports.sections.first_screen import first_screen
from reports.sections.searched import search_blocks
from reports.sections.selected_values import ReadTexts, selection_sections
from reports.sections.shared_values import shared_values_sections
from reports.sections.tables import arm_tables, budget_table, choice_table, numbers, published_table, trial_table
from reports.tracked.links import Links
from reports.tracked.runs import Sweep, Tracked
from trainers.readable import counted, listed

NOTHING_MORE = Asked()


def compose(
    tracked: Tracked,
    links: Links,
    read: ReadCurves,
    read_texts: ReadTexts,
    asked: Asked = NOTHING_MORE,
    then: pd.DataFrame | None = None,
) -> tuple[Document, pd.DataFrame]:
    """The whole report, and the arms of all sweeps as one table of numbers.

    Sweeps stand side by side; what compares across sweeps counts a trial that they share once. `then`: arms of before,
    to say what moved.
    """
    tracked = replace(tracked, trials=apart_by_numerics(stopped_together(tracked.trials)))
    names = [sweep.name for sweep in tracked.sweeps]
    arms = fronts_of_each_sweep(arms_table(tracked.trials, ("sweep", "arm_hash")))
    pooled_trials = once_each(tracked.trials)
    pooled = told_apart(arms_table(pooled_trials, ("arm_hash",)))
    judged = judge_all(pooled, pooled_trials)
    ticks = ticked(pooled, judged)
    published = published_table(pooled, "published")
    anchors, alone = distinct(names), len(names) == 1
    sections = [
        Section("In short", "in-short", [
            *first_screen(tracked, pooled, pooled_trials, judged, asked.missing, anchors[0] if alone else "all"),
            *([Paragraph(line)] if (line := coverage_line(ticks)) else []),
        ])
    ]  # fmt: skip
    if then is not None:
        sections.append(against_section(pooled, then, asked.against))
    for place, (sweep, anchor) in enumerate(zip(tracked.sweeps, anchors, strict=True)):
        own = tracked.trials[tracked.trials["sweep"] == sweep.name]
        its_arms = arms[arms["sweep"] == sweep.name].reset_index(drop=True)
        pictures = [*figures_of(its_arms, anchor), *curves_of(its_arms, anchor, read)]
        sections.append(_sweep(sweep, anchor, own, its_arms, pictures, links, place, alone))
    sections += coverage_sections(ticks)
    sections += [Section("Ours and published", "ours-and-published", [published], folded=True)] if published else []
    sections += [*_comparison(pooled), evidence_section(judged, links)]
    sections += selection_sections(pooled, read, read_texts)
    sections += shared_values_sections(pooled_trials)
    sections.append(provenance.section(tracked, links, asked.again or ["sweeper", "report", *names, "-o", "DIR"]))
    title, subtitle = asked.title, asked.description
    if not title:
        title = names[0] if alone else counted(len(names), "sweep")
        subtitle = tracked.sweeps[0].description if alone else listed(names)
    tasks = {name: task for sweep in tracked.sweeps for name, task in sweep.tasks.items()}
    return Document(title, subtitle, sections, provenance.as_run(tracked.trials, tasks)), numbers(arms)


def arms_table(trials: pd.DataFrame, by: tuple[str, ...]) -> pd.DataFrame:
    """Arms with their published counterparts and their places on the Pareto fronts."""
    return mark_fronts(with_published(arms_of(trials, by)))


def fronts_of_each_sweep(arms: pd.DataFrame) -> pd.DataFrame:
    """The arms, on the Pareto fronts of their own sweep: its tables and figures show no better arm of another sweep."""
    sweeps = [mark_fronts(own) for _, own in arms.groupby("sweep", sort=False)]
    return pd.concat(sweeps, ignore_index=True) if sweeps else arms


def told_apart(arms: pd.DataFrame) -> pd.DataFrame:
    """Arms of several sweeps under labels of their own.

    Where two have the same one, their epochs tell, or their preset; else the sweep's name is added, at the last a hash.
    """
    if arms.empty:
        return arms
    budgets = (arms["slot_epochs"].fillna(0) + arms["finetune_epochs"].fillna(0)).astype(int)
    words = [
        ", " + budgets.map(lambda epochs: counted(epochs, "epoch")), ", " + arms["preset"].astype(str),
        " (" + arms["sweep"] + ")", " [" + arms["arm_hash"].str[:8] + "]",
    ]  # fmt: skip
    same, labels = ["network", "dataset", "arm"], arms["arm"]
    for more in words:
        ambiguous = arms.assign(arm=labels).duplicated(same, keep=False)
        groups = arms.assign(arm=labels, more=more).groupby(same)["more"]
        tells = groups.transform("nunique") > 1
        labels = labels.where(~(ambiguous & tells), labels + more)
    return arms.assign(arm=labels)


def _sweep(
    sweep: Sweep, anchor: str, trials: pd.DataFrame, arms: pd.DataFrame, pictures: list[Figure], links: Links,
    place: int, alone: bool,
) -> Section:  # fmt: skip
    """What is known of a sweep: first accuracy along what its spec varies. Of one that is alone the title says more."""
    blocks: list[Block] = [] if alone else _introduced(sweep, trials)
    blocks += provenance.imported(trials)
    blocks += provenance.counted_before(trials)
    blocks.append(provenance.at_a_glance(sweep, trials, arms))
    if notice := provenance.missing(sweep, trials):
        blocks.append(notice)
    if len(arms):
        blocks += search_blocks(sweep, trials, arms, f"searched-{anchor}")
        blocks += pictures
        blocks += axis_tables(arms, anchor)
        # How to read such a table is said once.
        tables = arm_tables(arms, f"arms-{anchor}", links)
        blocks += (
            [replace(table, notes=["Read as the table of the first sweep."]) for table in tables] if place else tables
        )
        blocks.append(trial_table(trials, f"trials-{anchor}", links))
    return Section(f"Sweep {sweep.name}", f"sweep-{anchor}", blocks, folded=not alone)


def _introduced(sweep: Sweep, trials: pd.DataFrame) -> list[Block]:
    """What a sweep among others is about, and what was run of it."""
    return [Paragraph(text) for text in (sweep.description, provenance.as_run(trials, sweep.tasks)) if text]


def _comparison(arms: pd.DataFrame) -> list[Section]:
    tables = (choice_table(arms, "best-options"), budget_table(arms, "same-epochs"))
    blocks: list[Block] = [table for table in tables if table]
    return [Section("Comparison", "comparison", blocks, folded=True)] if blocks else []
