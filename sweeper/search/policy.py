"""What a sweep does beside training all that it was planted with: a search adds trials, rungs stop some, limits end it.

A launch asks `bring_more` when no stage is ready, `may_start` before it gives one out, and tells of every stage that
ended. Without a search, rungs and limits all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sweeper.records.trial_result import Epoch, TrialResult, seconds_of
from sweeper.search.gates import Gates
from sweeper.search.limits import Account, Amount
from sweeper.search.rungs import Entrant, RungBook
from sweeper.search.sweep_state import SweepState
from sweeper.stages.faults import Fault
from sweeper.stages.forest import Forest, Stage, grow
from sweeper.stages.status import StageStatus, Status
from trainers.recipe.recipe import Recipe

ENDED = (Status.COMPLETED, Status.STOPPED_EARLY, Status.FAILED)
Fits = Callable[[Sequence[Recipe]], bool]  # whether the limits leave room for the trials of these recipes


class Search(Protocol):
    """What asks for trials and is told what became of them."""

    @property
    def exhausted(self) -> bool: ...
    def left(self) -> list[int]: ...
    def trials_left(self) -> tuple[int, int]: ...
    def ask(self, fits: Fits) -> list[Recipe]: ...
    def unsettled(self) -> list[str]: ...
    def tell(self, arm: str, results: Sequence[TrialResult], rungs: Mapping[int, float]) -> None: ...
    def pause(self, arm: str, rungs: Mapping[int, float]) -> None: ...
    def number(self, arm: str) -> int | None: ...
    def cell(self, arm: str) -> str: ...


@dataclass
class Steering:
    """The search, the rungs and the limits of one launch; None is without."""

    search: Search | None = None
    rungs: RungBook | None = None
    account: Account | None = None
    _gates: Gates | None = None
    _arms: dict[str, list[int]] = field(default_factory=dict)  # the numbers of an arm's trials, by its hash
    _arm_of: list[str] = field(default_factory=list)
    _unaffordable: set[str] = field(default_factory=set)  # stages that no trial taken on goes through
    _waiting: list[int] = field(default_factory=list)  # trials that were not taken on yet
    _taken_on: set[int] = field(default_factory=set)
    _counted: set[int] = field(default_factory=set)  # trials that the limit of trials counts
    _diverged: set[str] = field(default_factory=set)  # arms of the search: no more of their seeds begin
    _stopped_ends: set[str] = field(default_factory=set)  # last stages of the trials of arms that were stopped
    _withheld: list[str] = field(default_factory=list)  # stages that were promised their share and do not fit now
    _is_dry: bool = False  # nothing more could be brought, and nothing has happened since

    def __post_init__(self) -> None:
        self._gates = Gates(self.rungs) if self.rungs else None

    # When trials are planted

    def holds(self, forest: Forest, changed: Iterable[int], stored: Callable[[str], bool]) -> list[str]:
        """Stages to hold, as often as they are listed, now that these trials are new or have other stages."""
        numbers = list(changed)
        self._is_dry = False
        holds: list[str] = []
        for number in range(len(self._arm_of), len(forest.trials) if self.search or self.rungs else 0):
            arm = forest.trials[number].recipe.arm_hash()
            self._arm_of.append(arm)
            self._arms.setdefault(arm, []).append(number)
        if self.rungs and self._gates:
            arms = dict.fromkeys(self._arm_of[number] for number in numbers)
            cells = {arm: self.search.cell(arm) for arm in arms} if self.search else {}
            holds += self._gates.enter(forest, {arm: self._arms[arm] for arm in arms}, cells)
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
        if self._gates:
            self._pause(state, self._gates.begin(state, {self._arm_of[number] for number in new}))
            if state.read_only and not self._is_under_way(state):
                self._gates.stop_paused(state)  # as the launch that ended like this did
        self._leave_diverged(state, new)
        self._note_stopped(state)
        self._tell(state)

    def _count_spent(self, state: SweepState, account: Account) -> None:
        for key, record in [*state.records.items(), *state.partials.items()]:
            if state.is_own(record):
                account.spent.setdefault(key, Amount.of(record))
        if not self._taken_on:
            own = account.spent.keys()
            for number, trial in enumerate(state.forest.trials):
                status = state.status(trial)
                is_begun = status in ENDED or self._is_paused(number)
                if trial.stages[-1] in own if status is Status.COMPLETED else is_begun and own & set(trial.stages):
                    self._counted.add(number)
            account.trials = len(self._counted)

    def _is_paused(self, number: int) -> bool:
        return self._gates is not None and self._arm_of[number] in self._gates.paused

    def _is_under_way(self, state: SweepState) -> bool:
        """Whether a trial has begun that neither ended nor pauses."""
        statuses = ((number, state.status(trial)) for number, trial in enumerate(state.forest.trials))
        return any(status is Status.RUNNING and not self._is_paused(number) for number, status in statuses)

    def search_trial(self, number: int) -> int | None:
        """The search's own number of what it asked for in this trial."""
        return self.search.number(self._arm_of[number]) if self.search else None

    def stops(self, end: str) -> bool:
        """Whether the trial with this last stage is of an arm that was stopped, though it has completed itself."""
        return end in self._stopped_ends

    # When a worker is free

    def promote(self, state: SweepState) -> bool:
        """Lets arms go on that pause at a rung and are among its best by now. False: there are none."""
        return not self._is_dry and self._gates is not None and self._gates.promote(state, is_last=False)

    def take_one_on(self, state: SweepState) -> bool:
        """Takes on the next trial that the limits leave room for. False: there is none, or there are no limits.

        Where there are rungs or a search, the seeds of an arm are taken on together: they are judged together.
        """
        if self._is_dry or self.account is None:
            return False
        self._waiting = [n for n in self._waiting if state.status(state.forest.trials[n]) not in ENDED]
        return any(self._take_on(state, self.account, numbers) for numbers in self._units(state))

    @property
    def may_ask(self) -> bool:
        """Whether the search is to be asked for recipes now."""
        has_room = self.account is None or self.account.may_begin_another
        return bool(not self._is_dry and self.search and not self.search.exhausted and has_room)

    def ask(self, state: SweepState) -> list[Recipe]:
        """The recipes that the search wants to be added; none while it waits for results, or where none would fit."""
        account = self.account
        if self.search is None:
            return []
        return self.search.ask(lambda recipes: account is None or self._fits(state, account, recipes))

    def settle(self, state: SweepState) -> bool:
        """No more can come to any rung: lets the best go on, at last stops what pauses. False: nothing goes on."""
        if self._is_dry or self._gates is None or not state.schedule.is_over:
            return False
        if self._gates.promote(state, is_last=True):
            return True
        if self._gates.stop_paused(state):
            self._note_stopped(state)
            self._tell(state)
        return False

    def ran_dry(self) -> None:
        """Nothing more could be brought: not to be tried again before something has happened."""
        self._is_dry = True

    @property
    def may_bring_more(self) -> bool:
        """Whether trying to bring more may help."""
        pauses = self.rungs is not None and self.rungs.rungs.pauses
        return bool(self.account or self.search or pauses) and not self._is_dry

    @property
    def wants_more(self) -> bool:
        """Whether a search would go on, if the limits let it."""
        return self.search is not None and not self.search.exhausted

    @property
    def epochs_unasked(self) -> int:
        """Epochs that a search may still ask for, as far as the limits leave room for them."""
        if self.search is None:
            return 0
        trials, epochs = self.search.trials_left()
        return self.account.affords(epochs, trials) if self.account else epochs

    def may_start(self, state: SweepState, stage: Stage) -> bool:
        """Whether the limits leave room for this stage; if not, it is tried again when another has ended."""
        if self.account is None:
            return True
        running = [state.forest.stages[key] for key in state.schedule.running if key != stage.key]
        if self.account.may_start(stage, running):
            return True
        self._withheld.append(stage.key)
        return False

    def _units(self, state: SweepState) -> list[list[int]]:
        """The trials that wait, those together that are taken on together; what has begun comes first."""
        units: dict[str, list[int]] = {}
        for number in self._waiting:
            if not self._is_paused(number):
                units.setdefault(self._arm_of[number] if self._arm_of else str(number), []).append(number)
        return sorted(units.values(), key=lambda numbers: not any(self._has_begun(state, number) for number in numbers))

    @staticmethod
    def _has_begun(state: SweepState, number: int) -> bool:
        trial = state.forest.trials[number]
        return state.status(trial) is Status.RUNNING or not state.saved.keys().isdisjoint(trial.stages)

    def _take_on(self, state: SweepState, account: Account, numbers: Sequence[int]) -> bool:
        left = [
            [key for key in state.forest.trials[n].stages if state.schedule.status(key) is not StageStatus.DONE]
            for n in numbers
        ]
        new = [number for number in numbers if number not in self._counted]
        if not account.take_on(*([state.forest.stages[key] for key in keys] for keys in left), trials=len(new)):
            return False
        self._waiting = [number for number in self._waiting if number not in numbers]
        self._taken_on.update(numbers)
        self._counted.update(new)
        free = {key for keys in left for key in keys if key in self._unaffordable}
        self._unaffordable -= free
        state.schedule.release(free)
        return True

    def _fits(self, state: SweepState, account: Account, recipes: Sequence[Recipe]) -> bool:
        forest = grow(state.forest, recipes, state.digests, state.store, state.begun())

        def is_done(key: str) -> bool:
            return key in forest.stored or (
                key in state.forest.stages and state.schedule.status(key) is StageStatus.DONE
            )

        new = forest.trials[len(state.forest.trials) :]
        return account.fits(*([forest.stages[key] for key in trial.stages if not is_done(key)] for trial in new))

    # When a stage has ended

    def stage_done(self, state: SweepState, stage: Stage) -> None:
        if self.account:
            record = state.records[stage.key]
            self.account.given_up([stage.key])
            if state.is_own(record):
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
        if self.search and failed and state.schedule.failures[stage.key].fault is Fault.NOT_A_NUMBER:
            ended = set(failed)
            trials = enumerate(state.forest.trials)
            self._leave_diverged(state, [n for n, trial in trials if not ended.isdisjoint(trial.stages)])
        self._ended(state, failed)

    def overspent(self, state: SweepState, running: Mapping[str, Sequence[Epoch]]) -> str | None:
        """The limit that is reached although stages still run, whose epochs so far are these.

        The epoch that each of them is in counts, too: it ends before the stage is saved.
        """
        if self.account is None:
            return None
        taken = {key: Amount(len(epochs), 0.0, seconds_of(epochs)) for key, epochs in running.items()}
        in_flight = self.account.epochs_in_flight([(state.forest.stages[key], taken[key]) for key in running])
        live = self._live_seconds(self.account, running)
        return self.account.exceeded(live + sum(in_flight), max(in_flight, default=0.0))

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
        if self._gates:
            self._pause(state, self._gates.ended(state, keys))
            self._note_stopped(state)
        self._tell(state)
        state.schedule.release(self._withheld)
        self._withheld = []

    def _pause(self, state: SweepState, entrants: Iterable[Entrant]) -> None:
        """What was promised to arms that pause is given up: they are taken on again if they go on."""
        arms = list(dict.fromkeys(arm for entrant in entrants for arm in entrant.gates))
        if self.account and arms:
            numbers = [number for arm in arms for number in self._arms[arm] if number in self._taken_on]
            self._taken_on.difference_update(numbers)
            self._waiting += numbers
            keys = {key for number in numbers for key in state.forest.trials[number].stages}
            left = {key for key in keys if state.schedule.status(key) is StageStatus.WAITING}
            left -= self._unaffordable | self._promised(state.forest)
            self._unaffordable |= left
            state.schedule.hold(left)
            self.account.given_up(left)
        if self.search and self.rungs and not state.read_only:
            for arm in arms:
                self.search.pause(arm, self.rungs.accuracies(arm))

    def _note_stopped(self, state: SweepState) -> None:
        for arm in self._gates.newly_stopped() if self._gates else ():
            trials = [state.forest.trials[number] for number in self._arms[arm]]
            self._stopped_ends |= {trial.stages[-1] for trial in trials}
            self._give_up_stopped(state, {key for trial in trials for key in trial.stages})

    def _give_up_stopped(self, state: SweepState, keys: Iterable[str]) -> None:
        if self.account:
            self.account.given_up(key for key in keys if state.schedule.status(key) is StageStatus.STOPPED)

    def _leave_diverged(self, state: SweepState, numbers: Iterable[int]) -> None:
        """Begins no more seeds of points that have diverged with one, among the arms of these trials."""
        arms = dict.fromkeys(self._arm_of[number] for number in numbers) if self.search else {}
        for arm in arms:
            own = [state.forest.trials[number] for number in self._arms[arm]]
            failures = [failure for trial in own if (failure := state.schedule.trial_failure(trial))]
            found = any(failure.fault is Fault.NOT_A_NUMBER for failure in failures)
            if not found or arm in self._diverged or self.search is None or self.search.number(arm) is None:
                continue
            self._diverged.add(arm)
            others = zip(self._arm_of, state.forest.trials, strict=False)
            wanted = {key for other, trial in others if other not in self._diverged for key in trial.stages}
            keys = {key for trial in own for key in trial.stages} - wanted
            state.schedule.stop(keys)
            self._give_up_stopped(state, keys)

    def _tell(self, state: SweepState) -> None:
        if self.search is None or state.read_only:
            return
        for arm in self.search.unsettled():
            numbers = self._arms.get(arm, ())
            if numbers and all(state.status(state.forest.trials[number]) in ENDED for number in numbers):
                accuracies = self.rungs.accuracies(arm) if self.rungs else {}
                self.search.tell(arm, [state.result(number) for number in numbers], accuracies)
