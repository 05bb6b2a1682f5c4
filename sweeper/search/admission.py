"""Which trials the limits take on, in which order, and what becomes of what they were promised."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.records.trial_result import Epoch, seconds_of
from sweeper.search.limits import Account, Amount
from sweeper.search.sweep_state import SweepState
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.planting import grow
from sweeper.stages.status import ENDED, StageStatus, Status
from trainers.recipe.recipe import Recipe

IsPaused = Callable[[int], bool]  # whether the trial of this number is held at a rung


@dataclass
class Admission:
    """The trials of one launch under limits: those taken on, and those that wait."""

    account: Account
    _unaffordable: set[str] = field(default_factory=set)  # stages that no trial taken on goes through
    _waiting: list[int] = field(default_factory=list)  # trials that were not taken on yet
    _taken_on: set[int] = field(default_factory=set)
    _counted: set[int] = field(default_factory=set)  # trials that the limit of trials counts
    _withheld: list[str] = field(default_factory=list)  # stages that were promised their share and do not fit now

    def holds(self, forest: Forest, numbers: Iterable[int], stored: Callable[[str], bool]) -> set[str]:
        """The stages of these trials, new or changed, that wait until a trial is taken on which goes through them."""
        keys = {key for number in numbers for key in forest.trials[number].stages if not stored(key)}
        new = keys - self._unaffordable - self._promised(forest)
        self._unaffordable |= new
        return new

    def _promised(self, forest: Forest) -> set[str]:
        return {key for number in self._taken_on for key in forest.trials[number].stages}

    def begin(self, state: SweepState, numbers: Iterable[int], is_paused: IsPaused) -> None:
        """These trials wait from now on; what the sweep has spent already is counted."""
        self._waiting += numbers
        for key, record in [*state.records.items(), *state.partials.items()]:
            if state.is_own(record):
                self.account.spent.setdefault(key, Amount.of(record))
        if not self._taken_on:
            own = self.account.spent.keys()
            for number, trial in enumerate(state.forest.trials):
                status = state.status(trial)
                is_begun = status in ENDED or is_paused(number)
                if trial.stages[-1] in own if status is Status.COMPLETED else is_begun and own & set(trial.stages):
                    self._counted.add(number)
            self.account.trials = len(self._counted)

    def take_one_on(self, state: SweepState, is_paused: IsPaused, arm_of: Sequence[str]) -> bool:
        """Takes on the next trials that the limits leave room for, those of one arm together. False: there are none.

        `arm_of`: the arm of each trial by number; empty where every trial is taken on by itself.
        """
        self._waiting = [n for n in self._waiting if state.status(state.forest.trials[n]) not in ENDED]
        units: dict[str, list[int]] = {}
        for number in self._waiting:
            if not is_paused(number):
                units.setdefault(arm_of[number] if arm_of else str(number), []).append(number)
        begun_first = sorted(units.values(), key=lambda unit: not any(_has_begun(state, number) for number in unit))
        return any(self._take_on(state, numbers) for numbers in begun_first)

    def _take_on(self, state: SweepState, numbers: Sequence[int]) -> bool:
        left = [
            [key for key in state.forest.trials[n].stages if state.schedule.status(key) is not StageStatus.DONE]
            for n in numbers
        ]
        new = [number for number in numbers if number not in self._counted]
        if not self.account.take_on(*([state.forest.stages[key] for key in keys] for keys in left), trials=len(new)):
            return False
        self._waiting = [number for number in self._waiting if number not in numbers]
        self._taken_on.update(numbers)
        self._counted.update(new)
        free = {key for keys in left for key in keys if key in self._unaffordable}
        self._unaffordable -= free
        state.schedule.release(free)
        return True

    def fits(self, state: SweepState, recipes: Sequence[Recipe]) -> bool:
        """Whether there is room for the trials of these recipes."""
        forest = grow(state.forest, recipes, state.digests, state.store, state.begun())

        def is_done(key: str) -> bool:
            return key in forest.stored or (
                key in state.forest.stages and state.schedule.status(key) is StageStatus.DONE
            )

        new = forest.trials[len(state.forest.trials) :]
        return self.account.fits(*([forest.stages[key] for key in trial.stages if not is_done(key)] for trial in new))

    def may_start(self, state: SweepState, stage: Stage) -> bool:
        """Whether there is still room for this stage; if not, it is tried again when another has ended."""
        running = [state.forest.stages[key] for key in state.schedule.running if key != stage.key]
        if self.account.may_start(stage, running):
            return True
        self._withheld.append(stage.key)
        return False

    def try_withheld_again(self, state: SweepState) -> None:
        """Something has ended: what did not fit may fit now."""
        state.schedule.release(self._withheld)
        self._withheld = []

    def take_back(self, state: SweepState, numbers: Iterable[int]) -> None:
        """Gives up what was promised to these trials, which pause: they are taken on again if they go on."""
        paused = [number for number in numbers if number in self._taken_on]
        self._taken_on.difference_update(paused)
        self._waiting += paused
        keys = {key for number in paused for key in state.forest.trials[number].stages}
        left = {key for key in keys if state.schedule.status(key) is StageStatus.WAITING}
        left -= self._unaffordable | self._promised(state.forest)
        self._unaffordable |= left
        state.schedule.hold(left)
        self.account.given_up(left)

    def give_up_stopped(self, state: SweepState, keys: Iterable[str]) -> None:
        """Gives up what was promised to those of these stages that were stopped."""
        self.account.given_up(key for key in keys if state.schedule.status(key) is StageStatus.STOPPED)

    def stage_done(self, state: SweepState, stage: Stage) -> None:
        """Counts what a stage took, if this sweep trained it."""
        record = state.records[stage.key]
        self.account.given_up([stage.key])
        if state.is_own(record):
            self.account.finished(stage, Amount.of(record))

    def stage_failed(self, state: SweepState, stage: Stage, epochs: Sequence[Epoch], failed: Collection[str]) -> None:
        """Counts what an attempt of so many epochs took; `failed`: the stages that are not trained any more."""
        if stage.key not in state.schedule.failures and (saved := state.saved.get(stage.key)):
            self.account.keep(stage, len(saved), seconds_of(saved))
        self.account.lose(stage, len(epochs), seconds_of(epochs))
        self.account.given_up(failed)

    def overspent(self, state: SweepState, running: Mapping[str, Sequence[Epoch]]) -> str | None:
        """The limit that is reached although stages still run, whose epochs so far are these.

        The epoch that each of them is in counts, too: it ends before the stage is saved.
        """
        taken = {key: Amount(len(epochs), 0.0, seconds_of(epochs)) for key, epochs in running.items()}
        in_flight = self.account.epochs_in_flight([(state.forest.stages[key], taken[key]) for key in running])
        live = self._live_seconds(running)
        return self.account.exceeded(live + sum(in_flight), max(in_flight, default=0.0))

    def spent(self, running: Mapping[str, Sequence[Epoch]]) -> Amount:
        """All of this sweep by now, with what stages that run, or ran when it was stopped, have taken so far."""
        return self.account.all_spent() + Amount(seconds=self._live_seconds(running))

    def _live_seconds(self, running: Mapping[str, Sequence[Epoch]]) -> float:
        before = (self.account.spent.get(key, Amount()).seconds for key in running)
        return sum(map(seconds_of, running.values())) - sum(before)


def _has_begun(state: SweepState, number: int) -> bool:
    trial = state.forest.trials[number]
    return state.status(trial) is Status.RUNNING or not state.saved.keys().isdisjoint(trial.stages)
