"""What moved since another report, as a section."""

from __future__ import annotations

from math import isnan

import pandas as pd

from reports.analysis.arms import rows
from reports.analysis.moved import Move, moved
from reports.document.blocks import Block, Cell, Column, Paragraph, Section, Table
from trainers.readable import MISSING, counted, interval, percent, points

NOTE = (
    "Means of both reports over their own trials. Moved: the 95 % interval of the difference (Welch's; of a single "
    "trial what one more trial would spread) leaves 0 out; of many arms one in twenty does by chance."
)


def against_section(now: pd.DataFrame, then: pd.DataFrame, name: str) -> Section:
    """Which arms of both reports differ by more than chance, and by how much. `name`: what the other one is called."""
    found = moved(now, then)
    if found.empty:
        return Section(f"Against {name}", "against", [Paragraph("No arm is in both.")])
    count = int((found["move"] == Move.MOVED).sum())
    gone = len(set(then.loc[then["n"] > 0, "arm_hash"])) - len(found)
    said = f"{counted(len(found), 'arm')} in both, of which {count} moved beyond the interval of the difference"
    said += f"; {counted(gone, 'arm')} of {name} not here." if gone > 0 else "."
    columns = [
        Column("Arm", numeric=False), Column("Here", "%"), Column("n"), Column("There", "%"), Column("n there"),
        Column("Difference", "points"), Column("95 % interval"), Column("", numeric=False), Column("Time", "ratio"),
    ]  # fmt: skip
    cells = [
        [
            Cell(row.arm, arm=row.arm),
            Cell(percent(row.test_accuracy, row.test_accuracy_half_width), row.test_accuracy),
            Cell(f"{row.n}", int(row.n)), Cell(percent(row.accuracy_then), row.accuracy_then),
            Cell(f"{row.n_then}", int(row.n_then)), Cell(points(row.difference), row.difference),
            Cell(interval(100 * row.low, 100 * row.high)), Cell(row.move),
            Cell(MISSING if isnan(row.time_ratio) else f"× {row.time_ratio:.2f}", row.time_ratio),
        ]
        for row in rows(found)
    ]  # fmt: skip
    blocks: list[Block] = [Paragraph(said), Table("against", f"Here and in {name}", columns, cells, [NOTE], found)]
    return Section(f"Against {name}", "against", blocks)
