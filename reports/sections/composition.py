"""What a report says, in which order: tracked sweeps to a document."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from reports.analysis.arms import apart_by_numerics, arms_of, mark_fronts, once_each
from reports.analysis.published import with_published
from reports.document.blocks import Block, Document, Figure, Paragraph, Section, distinct
from reports.pictures.charts import figures_of
from reports.pictures.curves import ReadCurves, curves_of
from reports.request import Asked
from reports.sections import provenance
from reports.sections.evidence import evidence_section, judge_all
from reports.sections.searched import search_table
from reports.sections.selected_values import ReadTexts, selection_sections
from reports.sections.shared_values import shared_values_sections
from reports.sections.summary import in_short
from reports.sections.tables import arm_table, budget_table, choice_table, numbers, published_table, trial_table
from reports.tracked.links import Links
from reports.tracked.runs import Sweep, Tracked
from trainers.readable import counted, listed

NOTHING_MORE = Asked()


def compose(
    tracked: Tracked, links: Links, read: ReadCurves, read_texts: ReadTexts, asked: Asked = NOTHING_MORE
) -> tuple[Document, pd.DataFrame]:
    """The whole report, and the arms of all sweeps as one table of numbers.

    Sweeps stand side by side; what compares across sweeps counts a trial that they share once.
    """
    tracked = replace(tracked, trials=apart_by_numerics(tracked.trials))
    names = [sweep.name for sweep in tracked.sweeps]
    arms = fronts_of_each_sweep(arms_table(tracked.trials, ("sweep", "arm_hash")))
    pooled_trials = once_each(tracked.trials)
    pooled = told_apart(arms_table(pooled_trials, ("arm_hash",)))
    judged = judge_all(pooled, pooled_trials)
    published = published_table(pooled, "published")
    sections = [
        Section("In short", "in-short", in_short(tracked, pooled, pooled_trials, judged, asked.missing)),
        *([Section("Ours and published", "ours-and-published", [published])] if published else []),
        *_comparison(pooled),
        evidence_section(judged, links),
    ]
    for place, (sweep, anchor) in enumerate(zip(tracked.sweeps, distinct(names), strict=True)):
        own = tracked.trials[tracked.trials["sweep"] == sweep.name]
        its_arms = arms[arms["sweep"] == sweep.name].reset_index(drop=True)
        pictures = [*figures_of(its_arms, anchor), *curves_of(its_arms, anchor, read)]
        sections.append(_sweep(sweep, anchor, own, its_arms, pictures, links, place))
    sections += selection_sections(pooled, read, read_texts)
    sections += shared_values_sections(pooled_trials)
    sections.append(provenance.section(tracked, links, asked.again or ["sweeper", "report", *names, "-o", "DIR"]))
    title, subtitle = asked.title, asked.description
    if not title:
        alone = len(names) == 1
        title = names[0] if alone else counted(len(names), "sweep")
        subtitle = tracked.sweeps[0].description if alone else listed(names)
    return Document(title, subtitle, sections, provenance.as_run(tracked.trials)), numbers(arms)


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
    place: int,
) -> Section:  # fmt: skip
    blocks: list[Block] = [Paragraph(sweep.description)] if sweep.description else []
    if run := provenance.as_run(trials):
        blocks.append(Paragraph(run))
    blocks += provenance.imported(trials)
    blocks += provenance.counted_before(trials)
    blocks.append(provenance.at_a_glance(sweep, trials, arms))
    if notice := provenance.missing(sweep, trials):
        blocks.append(notice)
    if len(arms):
        if found := search_table(sweep, trials, arms, f"searched-{anchor}"):
            blocks.append(found)
        table = arm_table(arms, f"arms-{anchor}", "Accuracy and cost per arm", links)
        # How to read such a table is said once.
        blocks.append(replace(table, notes=["Read as the table of the first sweep."]) if place else table)
        blocks += pictures
        blocks.append(trial_table(trials, f"trials-{anchor}", links))
    return Section(f"Sweep {sweep.name}", f"sweep-{anchor}", blocks)


def _comparison(arms: pd.DataFrame) -> list[Section]:
    tables = (choice_table(arms, "best-options"), budget_table(arms, "same-epochs"))
    blocks: list[Block] = [table for table in tables if table]
    return [Section("Comparison", "comparison", blocks)] if blocks else []
