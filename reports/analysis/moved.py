"""What moved between two reports: arms in both, the difference of their means, and whether it is beyond chance."""

from __future__ import annotations

from enum import StrEnum
from math import isnan, nan, sqrt
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from reports.analysis.statistics import LEVEL
from trainers.errors import InvalidInput

COLUMNS = ("network", "dataset", "arm", "arm_hash", "n", "test_accuracy", "test_accuracy_half_width")
COST = "train_seconds"


class Move(StrEnum):
    """Moved: the 95 % interval of the difference leaves 0 out."""

    MOVED = "moved"
    WITHIN = "within its interval"
    SAME = "the same"
    OPEN = "no interval"


def read_table(folder: Path) -> pd.DataFrame:
    """The table.csv of a report. Raises InvalidInput for a folder that has none, or one of another kind."""
    path = folder / "table.csv"
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"against: no report's table.csv can be read in {folder} ({error})") from None
    if missing := [column for column in COLUMNS if column not in table]:
        raise InvalidInput(f"against: {path} lacks the columns {', '.join(missing)}")
    return table


def moved(now: pd.DataFrame, then: pd.DataFrame) -> pd.DataFrame:
    """A row per arm in both: by its hash, or where recipes' hashes differ by its name. Columns: those of COLUMNS now,
    `n_then`, `accuracy_then`, `difference`, `low`, `high`, `move`, `time_ratio`; what moved most comes first."""
    first, other = (frame[frame["n"] > 0].drop_duplicates("arm_hash") for frame in (now, then))
    hashes = {row["arm_hash"]: row for row in other.to_dict("records")}
    names = {(row["network"], row["dataset"], row["arm"]): row for row in other.to_dict("records")}
    rows = []
    for arm in first.to_dict("records"):
        before = hashes.get(arm["arm_hash"]) or names.get((arm["network"], arm["dataset"], arm["arm"]))
        if before is not None:
            rows.append({**{column: arm[column] for column in COLUMNS}, **_compared(arm, before)})
    found = pd.DataFrame(rows)
    return found.sort_values("difference", key=lambda values: -values.abs(), ignore_index=True) if len(found) else found


def _compared(now: Any, then: Any) -> dict[str, Any]:
    difference = float(now["test_accuracy"]) - float(then["test_accuracy"])
    half = _half_width(now, then)
    if abs(difference) < 1e-12:
        move = Move.SAME
    elif isnan(half):
        move = Move.OPEN
    else:
        move = Move.MOVED if abs(difference) > half else Move.WITHIN
    return {
        "n_then": int(then["n"]), "accuracy_then": float(then["test_accuracy"]), "difference": difference,
        "low": difference - half, "high": difference + half, "move": str(move), "time_ratio": _ratio(now, then),
    }  # fmt: skip


def _half_width(now: Any, then: Any) -> float:
    """Of the difference: Welch's from both intervals; of one trial against several what one more trial would spread."""
    counts = [int(side["n"]) for side in (now, then)]
    if max(counts) < 2:
        return nan
    known = [side for side, count in zip((now, then), counts, strict=True) if count > 1]
    errors = [_squared_error(side) for side in known]
    if len(known) == 1:
        n = int(known[0]["n"])
        return float(stdtrit(n - 1, 0.5 + LEVEL / 2)) * sqrt(errors[0] * n * (1 + 1 / n))
    variance = sum(errors)
    if variance == 0:
        return 0.0
    degrees = variance**2 / sum(error**2 / (count - 1) for error, count in zip(errors, counts, strict=True))
    return float(stdtrit(degrees, 0.5 + LEVEL / 2)) * sqrt(variance)


def _squared_error(side: Any) -> float:
    """Of the mean, from its interval."""
    return (float(side["test_accuracy_half_width"]) / float(stdtrit(int(side["n"]) - 1, 0.5 + LEVEL / 2))) ** 2


def _ratio(now: Any, then: Any) -> float:
    seconds = [float(side.get(COST, nan)) for side in (now, then)]
    return seconds[0] / seconds[1] if seconds[1] and not isnan(seconds[1]) else nan
