"""Judged claims as blocks to read: the verdict first, then every comparison behind it."""

from __future__ import annotations

from math import isnan
from typing import Any

import pandas as pd

from reports import formats
from reports.charts import problem_name
from reports.claims import CLAIMS, Comparison, Judgement, effect, judge
from reports.document import Block, Cell, Column, Finding, Paragraph, Section, Table
from reports.links import Links
from reports.pairings import Arena

NOTE = (
    "What the paper says, tested on the completed trials of this report. Supported: every comparison shows it after "
    "Holm's correction over the comparisons of the claim, at 5 %. Contradicted: at least one shows the opposite. "
    "Everything else is not enough data. Arms are compared only with arms that are alike in all else."
)
PAIRED_NOTE = (
    "Paired t-test by seed (Welch's where fewer than two seeds are in common); p is two-sided, against the threshold "
    "in the claim, Holm-corrected. Intervals are not corrected."
)
WELCH_NOTE = (
    "Welch's t-test; p is two-sided, against the threshold in the claim, Holm-corrected. Intervals are not corrected."
)


def claims_section(arms: pd.DataFrame, trials: pd.DataFrame, links: Links) -> Section:
    """Each claim with its verdict; those that nothing was run for come last."""
    arena = Arena(arms)
    judged = [judge(claim, arena, trials) for claim in CLAIMS]
    blocks: list[Block] = [Paragraph(NOTE)]
    for judgement in sorted(judged, key=lambda judgement: not judgement.comparisons):
        claim, table = judgement.claim, evidence_table(judgement, links)
        reason = f"{judgement.reason} {effect(judgement)}".strip()
        test = PAIRED_NOTE if claim.by_seed else WELCH_NOTE
        blocks.append(Finding(claim.name, claim.statement, judgement.verdict, reason, test, table))
    return Section("Claims", "claims", blocks)


def evidence_table(judgement: Judgement, links: Links) -> Table | None:
    """Every comparison behind a verdict; the names of the arms link to the runs that it rests on."""
    found, claim = judgement.comparisons, judgement.claim
    if not found:
        return None
    columns = [
        Column("Problem", numeric=False), Column("Arm", numeric=False), Column("Against", numeric=False),
        Column("Difference", claim.measure.name), Column("95 % interval"), Column("n"), Column("Test", numeric=False),
        Column("p", "Holm"), Column("Says", numeric=False),
    ]  # fmt: skip
    rows = [_row(comparison, claim.measure.text, links) for comparison in found]
    data = pd.DataFrame([_numbers(comparison, claim.measure.name) for comparison in found])
    runs = {run for comparison in found for arm in (comparison.first, comparison.second) for run in arm["run_ids"]}
    caption = f"{formats.counted(len(rows), 'comparison')}, resting on {formats.counted(len(runs), 'run')}"
    return Table(f"claim-{claim.name}", caption, columns, rows, [], data)


def _row(comparison: Comparison, text: Any, links: Links) -> list[Cell]:
    difference, p = comparison.difference, comparison.adjusted_p
    sides = [
        Cell(arm["arm"], href=links.arm(arm["experiment_id"], arm["arm_hash"]), family=arm["family"])
        for arm in (comparison.first, comparison.second)
    ]
    between = formats.MISSING if isnan(difference.low) else f"{text(difference.low)} to {text(difference.high)}"
    return [
        Cell(problem_name(comparison.first)), *sides,
        Cell(text(difference.mean), None if isnan(difference.mean) else difference.mean), Cell(between),
        Cell("{} and {}".format(*difference.n)), Cell(difference.test),
        Cell(formats.p_value(p), None if isnan(p) else p), Cell(comparison.reading),
    ]  # fmt: skip


def _numbers(comparison: Comparison, measure: str) -> dict[str, Any]:
    difference, first, second = comparison.difference, comparison.first, comparison.second
    return {
        "problem": problem_name(first), "first": first["arm"], "second": second["arm"], "measure": measure,
        "difference": difference.mean, "low": difference.low, "high": difference.high,
        "threshold": difference.threshold, "test": difference.test, "n_first": difference.n[0],
        "n_second": difference.n[1], "degrees_of_freedom": difference.degrees_of_freedom,
        "p_value": difference.p_value, "p_value_holm": comparison.adjusted_p, "reading": str(comparison.reading),
        "runs": " ".join([*first["run_ids"], *second["run_ids"]]),
    }  # fmt: skip
