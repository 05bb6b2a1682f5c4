"""Judged claims as blocks to read: the verdict first, then every comparison behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from typing import Any

import pandas as pd

from reports.analysis.pairings import Arena
from reports.analysis.paper_claims import CLAIMS, Comparison, Judgement, Reading, Verdict, deciding, effect, judge
from reports.document.blocks import Block, Cell, Column, Finding, Paragraph, Points, Section, Table
from reports.pictures.charts import problem_name
from reports.tracked.links import Links
from trainers import readable as formats

SUMMARY_NOTE = (
    "Difference: of the comparison that the verdict hangs on. Between which arms, all other comparisons, and how they "
    "were tested, is under Evidence."
)
NOTE = (
    "What the paper says, tested on the completed trials of this report. Supported: every comparison shows it after "
    "Holm's correction over the comparisons of the claim, at 5 %. Contradicted: at least one shows the opposite. "
    "Everything else is not enough data. A claim that two things are alike is supported where the interval lies "
    "within the margin that it names, never for want of a difference. Arms are compared only with arms that are alike "
    "in all else; where a method has several, its best by validation stands for it. p is two-sided, against the "
    "threshold in the claim; where the claim is that a difference lies within a margin, against the nearer end of it, "
    "which makes it two one-sided tests at 2.5 % each. Intervals are not corrected for the number of comparisons. "
    "Paired: a t-test of the differences by seed, for arms that share what a seed draws (Welch's where fewer than two "
    "seeds are in common); for others with the same seeds, this or Welch's, whichever is less sure. Seconds per epoch "
    "are of CPU time where every trial has it; else by the clock, in which is what other work the machine did "
    "meanwhile."
)
IN_ORDER = (Verdict.SUPPORTED, Verdict.CONTRADICTED, Verdict.NOT_ENOUGH_DATA)
DECIDED = IN_ORDER[:2]


def judge_all(arms: pd.DataFrame, trials: pd.DataFrame) -> list[Judgement]:
    """Every claim of the paper, judged, in the order of CLAIMS."""
    arena = Arena(arms)
    return [judge(claim, arena, trials) for claim in CLAIMS]


def claims_tables(judged: Sequence[Judgement]) -> list[Block]:
    """A row per claim that something was run for: the decided ones, and folded those that are left open.

    The numbers of all claims lie beside the first table.
    """
    tested = sorted((each for each in judged if each.comparisons), key=lambda each: IN_ORDER.index(each.verdict))
    decided = [each for each in tested if each.verdict in DECIDED]
    left = [each for each in tested if each.verdict not in DECIDED]
    numbers = pd.DataFrame([_summary_numbers(judgement) for judgement in judged])
    tables: list[Block] = []
    if decided:
        caption = "What the paper claims, and what these runs say"
        tables.append(_claims("claims", caption, decided, [SUMMARY_NOTE], numbers))
    if left:
        count = formats.counted(len(left), "more claim" if decided else "claim")
        caption = f"{count} of the paper, for which these runs are not enough data"
        name, notes, data = ("claims-open", [], None) if decided else ("claims", [SUMMARY_NOTE], numbers)
        tables.append(replace(_claims(name, caption, left, notes, data), folded=True))
    return tables


def _claims(name: str, caption: str, judged: Sequence[Judgement], notes: list[str], data: pd.DataFrame | None) -> Table:
    columns = [
        Column("Verdict", numeric=False), Column("Claim", numeric=False, wraps=True), Column("Shown by"),
        Column("Difference"), Column("95 % interval"),
    ]  # fmt: skip
    return Table(name, caption, columns, list(map(_summary, judged)), notes, data, stacks=True)


def _summary(judgement: Judgement) -> list[Cell]:
    measure = judgement.claim.measure
    least, text = deciding(judgement), measure.text
    assert least is not None
    found, shown = judgement.comparisons, sum(each.reading is Reading.AS_CLAIMED for each in judgement.comparisons)
    difference = least.difference
    between = formats.MISSING if isnan(difference.low) else f"{text(difference.low)} to {text(difference.high)}"
    return [
        Cell(judgement.verdict, verdict=True),
        Cell(judgement.claim.statement, href=f"#claim-{judgement.claim.name}"),
        Cell(f"{shown} of {len(found)}", shown / len(found)),
        Cell(f"{text(difference.mean)}{measure.unit}{measure.clock}"), Cell(between),
    ]  # fmt: skip


def _summary_numbers(judgement: Judgement) -> dict[str, Any]:
    least = deciding(judgement)
    found: dict[str, Any] = {
        "claim": judgement.claim.name, "statement": judgement.claim.statement, "verdict": str(judgement.verdict),
        "comparisons": len(judgement.comparisons),
        "as_claimed": sum(each.reading is Reading.AS_CLAIMED for each in judgement.comparisons),
        "opposite": sum(each.reading is Reading.OPPOSITE for each in judgement.comparisons),
    }  # fmt: skip
    return found | (_numbers(least, judgement.claim.measure.name) if least else {})


def evidence_section(judged: Sequence[Judgement], links: Links) -> Section:
    """The comparisons behind every verdict; claims that nothing was run for come last, in a list."""
    blocks: list[Block] = [Paragraph(NOTE)]
    for judgement in sorted(
        (each for each in judged if each.comparisons), key=lambda each: IN_ORDER.index(each.verdict)
    ):
        claim, table = judgement.claim, evidence_table(judgement, links)
        reason = f"{judgement.reason} {effect(judgement)}".strip()
        blocks.append(Finding(claim.name, claim.statement, judgement.verdict, reason, table))
    if untested := [each for each in judged if not each.comparisons]:
        lines = [f"{each.claim.statement}. This needs {each.claim.needs}." for each in untested]
        title = f"{formats.counted(len(untested), 'claim')} of the paper that nothing was run for"
        blocks.append(Points(lines, title))
    return Section("Evidence", "evidence", blocks, folded=True)


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
