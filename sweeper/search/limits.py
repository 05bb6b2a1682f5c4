"""Limits of a sweep, kept by reserving: a trial is begun only if all that it still has to train fits into what is left.

What is stored is used at no cost, whoever trained it. What this sweep itself trained counts, in all its launches:
epochs, FLOPs and device seconds are those of its own stages in the store, finished or on their way, and of attempts
that this launch saw fail; wall-clock time is that of its launches together. (Epochs that a killed worker or driver had
not saved, --save-seconds at most, are not known afterwards.)

Trials are taken on in the order of the sweep when a worker is free, those first that have begun; where there are rungs
or a search, all seeds of an arm at once. One that does not fit is passed over, and a later, smaller one may be taken.
Then a stage starts only if it still fits once the time that stages really take is known. Nothing that runs is counted
as finished before it is; should epochs take so much longer than estimated that a limit would be passed by those in
flight, the launch stops as if asked to: they are saved where they are. A limit is passed by one epoch at most, or by
those of two seconds, of which a worker tells at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import astuple, dataclass, field
from typing import Protocol

from search_spaces.spec import Limits
from sweeper.planning.samples import Work
from sweeper.records.stage_record import StageRecord
from sweeper.stages.forest import Stage

MARGIN = 1.1  # seconds are estimates; so much more is reserved


class Estimating(Protocol):
    """What a stage will take; None where nobody can tell."""

    def seconds(self, stage: Stage) -> float | None: ...
    def flops(self, stage: Stage) -> int | None: ...


@dataclass(frozen=True)
class Amount:
    """What was, or will be, spent."""

    epochs: float = 0.0
    flops: float = 0.0
    seconds: float = 0.0  # of training and evaluation

    @classmethod
    def of(cls, record: StageRecord) -> Amount:
        """What a stage took, or has taken so far."""
        return cls(len(record.epochs), record.costs["flops"], record.seconds)

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.epochs + other.epochs, self.flops + other.flops, self.seconds + other.seconds)


def total(amounts: Iterable[Amount]) -> Amount:
    """All of them together."""
    return sum(amounts, Amount())


@dataclass
class Account:
    """What a sweep may spend, has spent, and has promised to trials that it has begun."""

    limits: Limits
    estimates: Estimating
    devices_per_trial: float = 1.0  # the share of a GPU; without GPUs every worker counts as a device
    wall_seconds: Callable[[], float] = lambda: 0.0  # of all launches up to now
    spent: dict[str, Amount] = field(default_factory=dict)  # by stage
    trials: int = 0  # that this sweep has trained or begun
    lost: Amount = Amount()  # in attempts of which nothing came
    reached: list[str] = field(default_factory=list)  # limits that kept something from starting, with their values
    _promised: dict[str, Stage] = field(default_factory=dict)  # stages that are still to be trained
    _measured: dict[Work, Amount] = field(default_factory=dict)  # of stages that were finished
    _estimated: float = 0.0  # seconds that all those had been estimated at

    def price(self, stage: Stage) -> Amount:
        """What is still to be spent on a stage: of one that is on its way, the rest."""
        if not stage.epochs:
            return Amount()
        left = max(0.0, 1 - self.spent.get(stage.key, Amount()).epochs / stage.epochs)
        flops = self.estimates.flops(stage) or 0
        return Amount(left * stage.epochs, left * flops, left * self._seconds(stage) * MARGIN)

    def _seconds(self, stage: Stage) -> float:
        """As long as epochs of the same work took in this launch; else as estimated, and as wrong as others were."""
        known = self._measured.get(Work.of(stage.recipe, stage.phase)) if stage.epochs else None
        if known is not None:
            return known.seconds / known.epochs * stage.epochs
        took = total(self._measured.values()).seconds
        return (self.estimates.seconds(stage) or 0.0) * (took / self._estimated if self._estimated else 1.0)

    @property
    def may_begin_another(self) -> bool:
        """Whether the limit of trials leaves room for one."""
        return self._may_begin(1)

    def _may_begin(self, trials: int) -> bool:
        if self.limits.trials is None or self.trials + trials <= self.limits.trials:
            return True
        self._reach([f"trials: {self.limits.trials}"])
        return False

    def fits(self, *paths: Collection[Stage], trials: int | None = None) -> bool:
        """Whether the stages that trials still need all fit; otherwise says in `reached` what they do not fit.

        `trials`: how many of them count as new; None: all.
        """
        if not self._may_begin(len(paths) if trials is None else trials):
            return False
        longest = max((sum(self.price(stage).seconds for stage in path) for path in paths), default=0.0)
        too_much = self._over(total(map(self.price, self._unpromised(paths).values())), longest)
        self._reach(too_much)
        return not too_much

    def take_on(self, *paths: Collection[Stage], trials: int | None = None) -> bool:
        """Promises trials what their stages still need, if all of them fit; see `fits`."""
        if not self.fits(*paths, trials=trials):
            return False
        self.trials += len(paths) if trials is None else trials
        self._promised |= self._unpromised(paths)
        return True

    def affords(self, epochs: int, trials: int) -> int:
        """How many epochs of so many further trials the limits of trials and of epochs leave room for, about."""
        if self.limits.trials is not None and trials:
            epochs = epochs * min(trials, max(0, self.limits.trials - self.trials)) // trials
        if self.limits.epochs is None:
            return epochs
        needed = self.all_spent() + total(map(self.price, self._promised.values()))
        return min(epochs, max(0, int(self.limits.epochs - needed.epochs)))

    def _unpromised(self, paths: Iterable[Collection[Stage]]) -> dict[str, Stage]:
        return {stage.key: stage for path in paths for stage in path if stage.key not in self._promised}

    def may_start(self, stage: Stage, running: Collection[Stage]) -> bool:
        """Whether a stage that was promised its share still fits, beside those that run, in full."""
        needed = total(map(self.price, running)) + self.price(stage)
        too_much = self._over(needed, self.price(stage).seconds, promised=False)
        self._reach(too_much)
        return not too_much

    def finished(self, stage: Stage, actual: Amount) -> None:
        """A stage is in the store, and this is what it took."""
        if stage.epochs:
            work = Work.of(stage.recipe, stage.phase)
            self._measured[work] = self._measured.get(work, Amount()) + actual
        self._estimated += self.estimates.seconds(stage) or 0.0
        self._promised.pop(stage.key, None)
        self.spent[stage.key] = actual

    def given_up(self, keys: Iterable[str]) -> None:
        """These stages will not be trained after all."""
        for key in keys:
            self._promised.pop(key, None)

    def keep(self, stage: Stage, epochs: int, seconds: float) -> None:
        """So much of a stage is saved: the next attempt goes on from there."""
        self.spent[stage.key] = Amount(
            epochs, (self.estimates.flops(stage) or 0) * epochs / max(1, stage.epochs), seconds
        )

    def lose(self, stage: Stage, epochs: int, seconds: float) -> None:
        """An attempt ended without a result after so many epochs; what is saved of it is spent, the rest is lost."""
        flops = self.estimates.flops(stage) or 0
        saved = self.spent.get(stage.key, Amount())
        attempt = Amount(epochs, flops * epochs / max(1, stage.epochs), seconds)
        self.lost += Amount(*(max(0.0, a - b) for a, b in zip(astuple(attempt), astuple(saved), strict=True)))

    def epochs_in_flight(self, running: Collection[tuple[Stage, Amount]]) -> list[float]:
        """How long the next epoch of each of these stages takes, which have come so far; 0 where that was the last.

        As long as those before it; of a stage that tells of none yet, as estimated and as wrong as the others were.
        """
        told = [
            (self._seconds(stage) / stage.epochs * taken.epochs, taken.seconds)
            for stage, taken in running
            if stage.epochs
        ]
        expected, took = (sum(column) for column in zip(*told, strict=True)) if told else (0.0, 0.0)
        late = max(1.0, took / expected) if expected else 1.0
        return [
            0.0 if taken.epochs >= stage.epochs
            else taken.seconds / taken.epochs if taken.epochs
            else late * self._seconds(stage) / stage.epochs
            for stage, taken in running
        ]  # fmt: skip

    def exceeded(self, live_seconds: float, longest_epoch: float = 0.0) -> str | None:
        """The limit of time that is reached although stages still run, which take so long with the epochs in flight."""
        over = self._over(Amount(seconds=live_seconds), longest_epoch, promised=False)
        self._reach(over)
        return over[0] if over else None

    def device_hours(self, amount: Amount) -> float:
        return amount.seconds * self.devices_per_trial / 3600

    def all_spent(self) -> Amount:
        return total(self.spent.values()) + self.lost

    def _reach(self, limits: Iterable[str]) -> None:
        self.reached += [limit for limit in limits if limit not in self.reached]

    def _over(self, more: Amount, path_seconds: float, promised: bool = True) -> list[str]:
        """The limits that are passed by spending `more` beside what is spent, and promised."""
        needed = self.all_spent() + more + (total(map(self.price, self._promised.values())) if promised else Amount())
        amounts = {
            "epochs": needed.epochs,
            "flops": needed.flops,
            "device_hours": self.device_hours(needed),
            "wall_hours": (self.wall_seconds() + path_seconds) / 3600,
        }
        limits = {name: getattr(self.limits, name) for name in amounts}
        return [f"{name}: {limit:g}" for name, limit in limits.items() if limit is not None and amounts[name] > limit]
