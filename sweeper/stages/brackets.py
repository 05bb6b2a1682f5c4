"""Where trials are at an epoch, and by that the bracket of rungs that an arm is dealt into."""

from __future__ import annotations

from itertools import accumulate

from search_spaces.spec import Rungs
from sweeper.stages.forest import Forest, Trial
from sweeper.stages.points import point_key
from trainers.hashing import content_hash


def bracket_of(rungs: Rungs, forest: Forest, first: Trial) -> int:
    """The bracket that an arm is dealt into; `first`: the trial of its first seed."""
    if rungs.brackets == 1 or first.recipe.budget_epochs <= rungs.epochs[0]:
        return 0
    point, _, _ = place_at(forest, first, rungs.epochs[0])
    lot = int(content_hash(["bracket", point])[:13], 16) / 16**13
    return sum(lot >= edge for edge in list(accumulate(rungs.shares()))[:-1])


def place_at(forest: Forest, trial: Trial, epoch: int) -> tuple[str, str, str | None]:
    """Where a trial is after so many epochs: the point, the stage in which it comes there, and the stage right after.

    No stage right after: a stored stage goes on past that point, so nothing can be stopped there.
    """
    before = 0
    for place, key in enumerate(trial.stages):
        stage = forest.stages[key]
        if before + stage.epochs >= epoch:
            point = point_key(stage.lineage, stage.start + epoch - before)
            return point, key, trial.stages[place + 1] if before + stage.epochs == epoch else None
        before += stage.epochs
    raise ValueError(f"the trial has no epoch {epoch}")
