"""What a sweep does beside training all that it was planted with: a search adds trials, rungs stop some, limits end it.

A launch asks `take_one_on` and `ask` when no stage is ready, `may_start` before it gives one out, and tells of every
stage that ended. Without a search, rungs and limits all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sweeper.records.trial_result import Epoch, TrialResult, seconds_of, trial_epochs
from sweeper.search.limits import Account, Amount
from sweeper.search.rungs import Entrant, RungBook
from sweeper.search.sweep_state import SweepState
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.status import StageStatus, Status
from trainers.recipe.recipe import Recipe

ENDED = (Status.COMPLETED, Status.STOPPED_EARLY, Status.FAILED)


class Search(Protocol):
    """What asks for trials and is told what became of them."""

    @property
    def exhausted(self) -> bool: ...
    def left(self) -> list[int]: ...
    def ask(self) -> list[Recipe]: ...
    def unsettled(self) -> list[str]: ...
    def tell(self, arm: str, results: Sequence[TrialResult], rungs: Mapping[int, float]) -> None: ...
    def number(self, arm: str) -> int | None: ...


@dataclass
class Steering:
    """The search, the rungs and the limits of one launch; None is without."""

    search: Search | None = None
    rungs: RungBook | None = None
    account: Account | None = None
    _arms: dict[str, list[int]] = field(default_factory=dict)  # the numbers of an arm's trials, by its hash
    _arm_of: list[str] = field(default_factory=list)
    _gated: set[str] = field(default_factory=set)  # stages right after a rung that are held there
    _passed: set[str] = field(default_factory=set)  # those that were released
    _unaffordable: set[str] = field(default_factory=set)  # stages that no trial taken on goes through
    _waiting: list[int] = field(default_factory=list)  # trials that were not taken on yet
    _taken_on: set[int] = field(default_factory=set)
    _withheld: list[str] = field(default_factory=list)  # stages that were promised their share and do not fit now
    _is_dry: bool = False  # nothing more could be brought, and nothing has happened since

    # When trials are planted

    def holds(self, forest: Forest, changed: Iterable[int], stored: Callable[[str], bool]) -> list[str]:
        """Stages to hold, as often as they are listed, now that these trials are new or have other stages."""
        numbers = list(changed)
        self._is_dry = False
        holds: list[str] = []
        if self.search or self.rungs:
            for number in range(len(self._arm_of), len(forest.trials)):
                arm = forest.trials[number].recipe.arm_hash()
                self._arm_of.append(arm)
                self._arms.setdefault(arm, []).append(number)
        if self.rungs:
            arms = dict.fromkeys(self._arm_of[number] for number in numbers)
            self.rungs.enter(forest, {arm: self._arms[arm] for arm in arms})
            gated = {key for entrant in self.rungs.entrants.values() for key in entrant.gated}
            new = gated - self._gated - self._passed
            holds += new
            self._gated |= new
        if self.account:
            keys = {key for number in numbers for key in forest.trials[number].stages if not stored(key)}
            new = keys - self._unaffordable - self._promised(forest)
            holds += new
            self._unaffordable |= new
        return holds

    def _promised(self, forest: Forest) -> set[str]:
        return {key for number in self._taken_on for key in forest.trials[number].stages}

    def begin(self, state: SweepState, numbers: Iterable[int]) -> None:
        """These trials were taken in: what is known of them already is judged and told."""
        new = list(numbers)
        if self.account:
            self._waiting += new
            self._count_spent(state, self.account)
        if self.rungs:
            arms = {self._arm_of[number] for number in new}
            for entrant in [e for e in self.rungs.entrants.values() if not arms.isdisjoint(e.gates)]:
                self._judge(state, self.rungs, entrant)
        self._tell(state)

    def _count_spent(self, state: SweepState, account: Account) -> None:
        for key, record in [*state.records.items(), *state.partials.items()]:
            if record.environment.get("sweep") == state.sweep:
                account.spent.setdefault(key, Amount.of(record))
        if not self._taken_on:
            own = account.spent.keys()
            ended = [(trial, state.status(trial)) for trial in state.forest.trials]
            account.trials = sum(
                trial.stages[-1] in own if status is Status.COMPLETED else not own.isdisjoint(trial.stages)
                for trial, status in ended
                if status in ENDED
            )

    def search_trial(self, number: int) -> int | None:
        """The search's own number of what it asked for in this trial."""
        return self.search.number(self._arm_of[number]) if self.search else None

    # When a worker is free

    def take_one_on(self, state: SweepState) -> bool:
        """Takes on the next trial that the limits leave room for. False: there is none, or there are no limits."""
        return not self._is_dry and self.account is not None and self._take_one_on(state, self.account)

    @property
    def may_ask(self) -> bool:
        """Whether the search is to be asked for recipes now."""
        return bool(
            not self._is_dry and self.search and not self._waiting and not self.search.exhausted and self._has_room()
        )

    def ask(self) -> list[Recipe]:
        """The recipes that the search wants to be added; none while it waits for results."""
        return self.search.ask() if self.search else []

    def ran_dry(self) -> None:
        """Nothing more could be brought: not to be tried again before something has happened."""
        self._is_dry = True

    @property
    def may_bring_more(self) -> bool:
        """Whether trying to bring more may help."""
        return bool(self.account or self.search) and not self._is_dry

    @property
    def wants_more(self) -> bool:
        """Whether a search would go on, if the limits let it."""
        return self.search is not None and not self.search.exhausted

    def may_start(self, state: SweepState, stage: Stage) -> bool:
        """Whether the limits leave room for this stage; if not, it is tried again when another has ended."""
        if self.account is None:
            return True
        running = [state.forest.stages[key] for key in state.schedule.running if key != stage.key]
        if self.account.may_start(stage, running):
            return True
        self._withheld.append(stage.key)
        return False

    def _has_room(self) -> bool:
        return self.account is None or self.account.may_begin_another

    def _take_one_on(self, state: SweepState, account: Account) -> bool:
        forest = state.forest
        self._waiting = [n for n in self._waiting if state.status(forest.trials[n]) not in ENDED]
        for place, number in enumerate(self._waiting):
            keys = [key for key in forest.trials[number].stages if state.schedule.status(key) is not StageStatus.DONE]
            if account.take_on([forest.stages[key] for key in keys]):
                del self._waiting[place]
                self._taken_on.add(number)
                free = [key for key in keys if key in self._unaffordable]
                self._unaffordable.difference_update(free)
                state.schedule.release(free)
                return True
        return False

    # When a stage has ended

    def stage_done(self, state: SweepState, stage: Stage) -> None:
        if self.account:
            record = state.records[stage.key]
            self.account.given_up([stage.key])
            if record.environment.get("sweep") == state.sweep:
                self.account.finished(stage, Amount.of(record))
        self._ended(state, [stage.key])

    def stage_failed(self, state: SweepState, stage: Stage, epochs: Sequence[Epoch]) -> None:
        """For good, or until it is tried again; `epochs` are those of this attempt."""
        failed = state.schedule.below(stage.key) if stage.key in state.schedule.failures else []
        if self.account:
            if stage.key not in state.schedule.failures and (saved := state.saved.get(stage.key)):
                self.account.keep(stage, len(saved), seconds_of(saved))
            self.account.lose(stage, len(epochs), seconds_of(epochs))
            self.account.given_up(failed)
        self._ended(state, failed)

    def overspent(self, running: Mapping[str, Sequence[Epoch]]) -> str | None:
        """The limit that is reached although stages still run, whose epochs so far are these."""
        if self.account is None:
            return None
        return self.account.exceeded(self._live_seconds(self.account, running))

    def spent(self, running: Mapping[str, Sequence[Epoch]]) -> Amount:
        """All of this sweep by now, with what stages that run, or ran when it was stopped, have taken so far."""
        assert self.account is not None
        return self.account.all_spent() + Amount(seconds=self._live_seconds(self.account, running))

    @staticmethod
    def _live_seconds(account: Account, running: Mapping[str, Sequence[Epoch]]) -> float:
        before = (account.spent.get(key, Amount()).seconds for key in running)
        return sum(map(seconds_of, running.values())) - sum(before)

    def _ended(self, state: SweepState, keys: Iterable[str]) -> None:
        self._is_dry = False
        if self.rungs:
            for key in keys:
                for entrant in self.rungs.waiting_for(key):
                    self._judge(state, self.rungs, entrant)
        self._tell(state)
        state.schedule.release(self._withheld)
        self._withheld = []

    def _judge(self, state: SweepState, rungs: RungBook, entrant: Entrant) -> None:
        """Once all seeds have come, or failed: then what goes on from the rung is released, or stopped."""
        judgement = rungs.judgements.get(entrant.rung_key)
        schedule = state.schedule
        if judgement is None:
            states = [schedule.status(key) for key in entrant.needs]
            if state.read_only or not set(states) <= {StageStatus.DONE, StageStatus.FAILED}:
                return
            curves = [
                [float(epoch["validation_accuracy"]) for epoch in trial_epochs(trial, state.records)[: entrant.epoch]]
                for trial, stage in zip((state.forest.trials[n] for n in entrant.trials), states, strict=True)
                if stage is StageStatus.DONE
            ]
            if not curves:
                return
            judgement = rungs.judge(entrant, curves)
        gates = entrant.gated & self._gated
        if judgement.goes_on:
            schedule.release(gates)
            self._gated -= gates
            self._passed |= gates
        else:
            schedule.stop(gates)
            if self.account:
                self.account.given_up(key for gate in gates for key in schedule.below(gate))

    def _tell(self, state: SweepState) -> None:
        if self.search is None or state.read_only:
            return
        for arm in self.search.unsettled():
            numbers = self._arms.get(arm, ())
            if numbers and all(state.status(state.forest.trials[number]) in ENDED for number in numbers):
                accuracies = self.rungs.accuracies(arm) if self.rungs else {}
                self.search.tell(arm, [state.result(number) for number in numbers], accuracies)
