"""Which arms face each other for which claim: a pairing yields pairs of rows of the arena's arms."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reports.analysis.likeness import FIELDS, PROBLEM, Likeness, Positions

Condition = NDArray[np.bool_]
TEXT = ("method", "selection", "sharing", "preset", "device")
NUMBERS = ("options", "slot_epochs", "finetune_epochs", "validation_accuracy")

SPLIT = frozenset({"slot_epochs", "finetune_epochs"})
NOTHING_TO_CHOOSE = frozenset({"options", "slot_epochs"})  # with one option, epochs change nothing
SOME, MANY = 8, 16  # options: accuracy saturates at 8 to 16
ALL_BUT_PROBLEM = frozenset(FIELDS) - frozenset(PROBLEM) - {"precision"}
FINETUNING = frozenset(field for field in FIELDS if field.startswith("finetune_") and field != "finetune_epochs")
ALL_BUT_PROBLEM_AND_FINETUNING = ALL_BUT_PROBLEM - FINETUNING - {"batch_size"}

Pairs = Iterator[tuple[int, int]]
Pairing = Callable[["Arena"], Pairs]


class Arena:
    """All arms that have data, made as the paper makes them, and who is like whom there.

    Left out are what was converted, finetuned from shuffled weights, or has values that do not come independently.
    """

    def __init__(self, arms: pd.DataFrame) -> None:
        as_claimed = arms["conversion"].isna() & (arms["finetune_start"] != "shuffled") & arms["value_layout"].isna()
        self.arms = arms[(arms["n"] > 0) & as_claimed].reset_index(drop=True)
        self.likeness = Likeness(self.arms)
        # Columns as plain arrays: a pairing looks at them thousands of times.
        self.of = {field: self.arms[field].fillna("").to_numpy(dtype=str) for field in TEXT}
        self.of |= {field: self.arms[field].to_numpy(dtype=float) for field in NUMBERS}
        self.of["budget"] = self.of["slot_epochs"] + self.of["finetune_epochs"]

    def is_slot_machine(self) -> Condition:
        return np.asarray(self.of["method"] == "slot_machine")

    def is_unshared(self) -> Condition:
        """Slot machines whose values are their own: what the paper says of K it says of these."""
        return np.asarray(self.is_slot_machine() & (self.of["sharing"] == "none"))

    def is_finetuned(self) -> Condition:
        return np.asarray((self.of["slot_epochs"] > 0) & (self.of["finetune_epochs"] > 0))

    def groups(self, condition: Condition, but_for: frozenset[str] | set[str]) -> Iterator[Positions]:
        """Arms that meet the condition, in groups alike but for some fields."""
        yield from self.likeness.groups(np.flatnonzero(condition), but_for)

    def like(self, arm: int, condition: Condition, but_for: frozenset[str] | set[str]) -> Positions:
        """The arms that meet the condition and are like this one but for some fields."""
        return self.likeness.comparable(arm, np.flatnonzero(condition), but_for)

    def best(self, arms: Positions) -> int:
        """The one with the highest validation accuracy."""
        accuracy = self.of["validation_accuracy"][arms]
        return int(arms[np.argmax(np.where(np.isnan(accuracy), -np.inf, accuracy))])

    def sorted(self, arms: Positions, field: str) -> Positions:
        """From the lowest to the highest value of a field."""
        return arms[np.argsort(self.of[field][arms], kind="stable")]


def more_options(arena: Arena) -> Pairs:
    """The most options up to 8 against the fewest from 2 on."""
    options = arena.of["options"]
    for group in arena.groups(arena.is_unshared() & (options >= 2) & (options <= SOME), {"options"}):
        line = arena.sorted(group, "options")
        if options[line[-1]] > options[line[0]]:
            yield int(line[-1]), int(line[0])


def beyond_saturation(arena: Arena) -> Pairs:
    """Each number of options above 16 against the better one, by validation, of those from 8 to 16."""
    options = arena.of["options"]
    for group in arena.groups(arena.is_unshared() & (options >= SOME), {"options"}):
        saturated = group[options[group] <= MANY]
        for more in group[options[group] > MANY] if len(saturated) else ():
            yield int(more), arena.best(saturated)


def two_against_one(arena: Arena) -> Pairs:
    """Two options per connection against one, which is an untrained network whatever its epochs."""
    options = arena.of["options"]
    for group in arena.groups(arena.is_slot_machine() & ~arena.is_finetuned() & (options <= 2), NOTHING_TO_CHOOSE):
        ones = group[options[group] == 1]
        yield from ((int(two), int(one)) for two in group[options[group] == 2] for one in ones)


def greedy_against_probabilistic(arena: Arena) -> Pairs:
    """At every K: greedy against probabilistic selection, each with its best learning rate by validation."""
    for group in arena.groups(arena.is_slot_machine() & (arena.of["options"] > 1), {"selection", "slot_learning_rate"}):
        selection = arena.of["selection"][group]
        greedy, probabilistic = group[selection == "greedy"], group[selection == "probabilistic"]
        if len(greedy) and len(probabilistic):
            yield arena.best(greedy), arena.best(probabilistic)


def methods(first: str, second: str) -> Pairing:
    """The best arm of one method against the best of another, both by validation, on each problem with each preset."""

    def pairing(arena: Arena) -> Pairs:
        of = arena.of
        plain = ~arena.is_finetuned() & np.isin(of["sharing"], ["", "none"])
        eligible = plain & np.isin(of["selection"], ["", "greedy"])
        for group in arena.groups(eligible & np.isin(of["method"], [first, second]), ALL_BUT_PROBLEM):
            for preset in dict.fromkeys(of["preset"][group]):
                family = group[of["preset"][group] == preset]
                ours, theirs = (family[of["method"][family] == method] for method in (first, second))
                if len(ours) and len(theirs):
                    yield arena.best(ours), arena.best(theirs)

    return pairing


def finetuned_against_scratch(arena: Arena) -> Pairs:
    """The best split of a budget, by validation, against learned weights with the same budget and finetuning rule."""
    for split in _splits(arena):
        best = arena.best(split)
        scratch = (arena.of["method"] == "learned") & (arena.of["finetune_epochs"] == arena.of["budget"][best])
        yield from ((best, int(row)) for row in arena.like(best, scratch, ALL_BUT_PROBLEM_AND_FINETUNING))


def longer_slot_phase(arena: Arena) -> Pairs:
    """The longest slot phase of a budget against the shortest, both finetuned for the rest."""
    for split in _splits(arena):
        line = arena.sorted(split, "slot_epochs")
        if len(line) > 1:
            yield int(line[-1]), int(line[0])


def shared_against_own(fewest: int, most: int) -> Pairing:
    """Values shared by a layer or by the network against values of one's own, at numbers of options in a range."""

    def pairing(arena: Arena) -> Pairs:
        options, sharing = arena.of["options"], arena.of["sharing"]
        in_range = (options >= fewest) & (options <= most)
        for shared in np.flatnonzero(in_range & np.isin(sharing, ["layer", "network"])):
            yield from ((int(shared), int(own)) for own in arena.like(int(shared), sharing == "none", {"sharing"}))

    return pairing


def machine_against_learned(arena: Arena) -> Pairs:
    """Each greedy slot machine that is not finetuned against learned weights, on one kind of device."""
    of = arena.of
    greedy = (of["selection"] == "greedy") & (of["options"] > 1) & ~arena.is_finetuned()
    for machine in np.flatnonzero(greedy):
        same_device = (of["method"] == "learned") & (of["device"] == of["device"][machine])
        yield from ((int(machine), int(row)) for row in arena.like(int(machine), same_device, ALL_BUT_PROBLEM))


def _splits(arena: Arena) -> Iterator[Positions]:
    """Finetuned slot machines alike but for where they turn, budget by budget."""
    for group in arena.groups(arena.is_slot_machine() & arena.is_finetuned(), SPLIT):
        for budget in sorted(set(arena.of["budget"][group])):
            yield group[arena.of["budget"][group] == budget]
