"""Which arms face each other for which claim: a pairing yields pairs of rows of the arena's arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.arms import best_by
from reports.likeness import FIELDS, PROBLEM, Likeness

SPLIT = frozenset({"slot_epochs", "finetune_epochs"})
FEW, SOME, MANY, MOST = (
    4,
    8,
    16,
    32,
)  # options: up to 4 are few; accuracy saturates at 8 to 16; from 32 on there are plenty
PROBLEM_AND_BATCH = frozenset({*PROBLEM, "batch_size", "precision"})


@dataclass(frozen=True)
class Arena:
    """All arms with data, and who is like whom among them."""

    arms: pd.DataFrame
    likeness: Likeness

    @property
    def records(self) -> list[dict[str, Any]]:
        """The arms as mappings, by row."""
        return [{str(name): value for name, value in arm.items()} for arm in self.arms.to_dict("records")]

    @classmethod
    def of(cls, arms: pd.DataFrame) -> Arena:
        with_data = arms[arms["n"] > 0].reset_index(drop=True)
        return cls(with_data, Likeness(with_data))

    def where(self, condition: Any) -> NDArray[np.intp]:
        return np.flatnonzero(np.asarray(condition.fillna(False), dtype=bool))

    def groups(self, condition: Any, but_for: frozenset[str] | set[str]) -> Iterator[pd.DataFrame]:
        """Arms that meet the condition, in groups alike but for some fields."""
        for members in self.likeness.groups(self.where(condition), but_for):
            yield self.arms.iloc[members]

    def like(self, arm: int, condition: Any, but_for: frozenset[str] | set[str]) -> pd.DataFrame:
        """The arms that meet the condition and are like this one but for some fields."""
        return self.arms.iloc[self.likeness.alike(arm, self.where(condition), but_for)]


Pairs = Iterator[tuple[int, int]]
Pairing = Callable[[Arena], Pairs]


def _row(arm: pd.Series[Any]) -> int:
    return int(str(arm.name))


def _slot_only(arena: Arena) -> Any:
    arms = arena.arms
    return (arms["method"] == "slot_machine") & (arms["finetune_epochs"] == 0)


def more_options(arena: Arena) -> Pairs:
    """The most options up to 8 against the fewest from 2 on."""
    for group in arena.groups(arena.arms["method"] == "slot_machine", {"options"}):
        line = group[group["options"].between(2, SOME)].sort_values("options")
        if line["options"].nunique() > 1:
            yield _row(line.iloc[-1]), _row(line.iloc[0])


def beyond_saturation(arena: Arena) -> Pairs:
    """Each number of options above 16 against the better one, by validation, of those from 8 to 16."""
    for group in arena.groups(arena.arms["method"] == "slot_machine", {"options"}):
        saturated = group[group["options"].between(SOME, MANY)]
        for more in group.index[group["options"] > MANY] if len(saturated) else ():
            yield int(more), _row(best_by(saturated, "validation_accuracy"))


def two_against_one(arena: Arena) -> Pairs:
    """Two options per connection against one, which is an untrained network."""
    for group in arena.groups(_slot_only(arena), {"options"}):
        for two in group.index[group["options"] == 2]:
            yield from ((int(two), int(one)) for one in group.index[group["options"] == 1])


def greedy_against_probabilistic(arena: Arena) -> Pairs:
    """At every K: each greedy arm against its probabilistic twin, both with the published rate of their selection."""
    for greedy in arena.where((arena.arms["selection"] == "greedy") & (arena.arms["options"] > 1)):
        twins = arena.like(int(greedy), arena.arms["selection"] == "probabilistic", {"selection"})
        yield from ((int(greedy), int(twin)) for twin in twins.index)


def methods(first: str, second: str) -> Pairing:
    """The best arm of one method against the best of another, both by validation, on each problem with each preset."""

    def pairing(arena: Arena) -> Pairs:
        arms = arena.arms
        plain = (arms["finetune_epochs"] == 0) & (arms["sharing"].fillna("none") == "none")
        eligible = plain & arms["method"].isin([first, second]) & (arms["selection"].fillna("greedy") == "greedy")
        for group in arena.groups(eligible, frozenset(FIELDS) - frozenset(PROBLEM)):
            for _, family in group.groupby("preset", sort=False):
                ours, theirs = family[family["method"] == first], family[family["method"] == second]
                if len(ours) and len(theirs):
                    yield _row(best_by(ours, "validation_accuracy")), _row(best_by(theirs, "validation_accuracy"))

    return pairing


def finetuned_against_scratch(arena: Arena) -> Pairs:
    """The best split of a budget, by validation, against learned weights with the same budget and finetuning rule."""
    arms = arena.arms
    rule = {field for field in FIELDS if field.startswith("finetune_") and field != "finetune_epochs"}
    but_for = frozenset(FIELDS) - PROBLEM_AND_BATCH - rule
    for split in _splits(arena):
        best = best_by(split, "validation_accuracy")
        scratch = (arms["method"] == "learned") & (
            arms["finetune_epochs"] == best["slot_epochs"] + best["finetune_epochs"]
        )
        yield from ((_row(best), int(row)) for row in arena.like(_row(best), scratch, but_for).index)


def longer_slot_phase(arena: Arena) -> Pairs:
    """The longest slot phase of a budget against the shortest, both finetuned for the rest."""
    for split in _splits(arena):
        line = split.sort_values("slot_epochs")
        if len(line) > 1:
            yield _row(line.iloc[-1]), _row(line.iloc[0])


def shared_against_own(fewest: int, most: int) -> Pairing:
    """Values shared by a layer or by the network against values of one's own, at numbers of options in a range."""

    def pairing(arena: Arena) -> Pairs:
        arms = arena.arms
        for shared in arena.where(arms["sharing"].isin(["layer", "network"]) & arms["options"].between(fewest, most)):
            own = arena.like(int(shared), arms["sharing"] == "none", {"sharing"})
            yield from ((int(shared), int(row)) for row in own.index)

    return pairing


def machine_against_learned(arena: Arena) -> Pairs:
    """Each greedy slot machine that is not finetuned against learned weights, on one kind of device."""
    arms = arena.arms
    for machine in arena.where(_slot_only(arena) & (arms["selection"] == "greedy") & (arms["options"] > 1)):
        same_device = (arms["method"] == "learned") & (arms["device"] == arms["device"].iloc[machine])
        learned = arena.like(int(machine), same_device, frozenset(FIELDS) - PROBLEM_AND_BATCH)
        yield from ((int(machine), int(row)) for row in learned.index)


def _splits(arena: Arena) -> Iterator[pd.DataFrame]:
    """Finetuned slot machines alike but for where they turn, a frame per budget."""
    arms = arena.arms
    finetuned = (arms["method"] == "slot_machine") & (arms["slot_epochs"] > 0) & (arms["finetune_epochs"] > 0)
    for group in arena.groups(finetuned, SPLIT):
        for _, budget in group.groupby(group["slot_epochs"] + group["finetune_epochs"], sort=True):
            yield budget
