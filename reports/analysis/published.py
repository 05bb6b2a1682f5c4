"""Published values beside our arms: what was published for the same network, data set, method, K and augmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from search_spaces.published import Published, published_for

COLUMNS = ("published", "published_kind", "published_source", "published_spread")
UNSAID = "augmentation not stated"
UNPUBLISHED = (float("nan"), "", "", "")


def with_published(arms: pd.DataFrame) -> pd.DataFrame:
    """Add `published` (a fraction, nan where there is none) and the other COLUMNS, which say where it is from."""
    found = [_for_arm(arm) for arm in arms.to_dict("records")]
    return arms.assign(**{column: [row[place] for row in found] for place, column in enumerate(COLUMNS)})


def best_published(arm: Mapping[Any, Any]) -> tuple[float, str, str, str]:
    """What was published for the best K by test accuracy, whatever the arm's own K is."""
    return _for_arm({**arm, "options": None})


def _for_arm(arm: Mapping[Any, Any]) -> tuple[float, str, str, str]:
    rows = _published(arm) if _is_comparable(arm) else []
    if not rows:
        return UNPUBLISHED
    nearest = rows[0]
    source = f"{nearest.source}; {UNSAID}" if nearest.setting.startswith(UNSAID) else nearest.source
    return nearest.accuracy, nearest.kind, source, nearest.spread


def _published(arm: Mapping[Any, Any]) -> list[Published]:
    def stated(field: str) -> Any:
        return None if arm[field] is None or pd.isna(arm[field]) else arm[field]

    return published_for(
        arm["network"], arm["dataset"], arm["method"],
        options=stated("options"), selection=stated("selection"), sharing=stated("sharing"),
        augmented=arm["augmentation"] != "none", keep_fraction=stated("keep_fraction"),
        weight_init=stated("weight_init"),
    )  # fmt: skip


def _is_comparable(arm: Mapping[Any, Any]) -> bool:
    """Published values are of networks of full width that were not finetuned; learned weights start from scratch."""
    finetuned = arm["method"] != "learned" and arm["finetune_epochs"] > 0
    return bool(arm["width"] == 1 and pd.isna(arm["conversion"]) and not finetuned and arm["start"] != "random_option")
