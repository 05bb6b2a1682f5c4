"""What a sweep does beside training all that it was planted with: a search adds trials, rungs stop some, limits end it.

A launch asks `bring_more` when no stage is ready, `may_start` before it gives one out, and tells of every stage that
ended. Without a search, rungs and limits all of this does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sweeper.records.trial_result import Epoch, TrialResult
from sweeper.search.admission import Admission
from sweeper.search.gates import Gates
from sweeper.search.limits import Account, Amount
from sweeper.search.rungs import Entrant, RungBook
from sweeper.search.sweep_state import SweepState
from sweeper.stages.faults import Fault
from sweeper.stages.forest import Forest, Stage
from sweeper.stages.status import ENDED, Status
from trainers.recipe.recipe import Recipe

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
    _admission: Admission | None = None
    _arms: dict[str, list[int]] = field(default_factory=dict)  # the numbers of an arm's trials, by its hash
    _arm_of: list[str] = field(default_factory=list)
    _diverged: set[str] = field(default_factory=set)  # arms of the search: no more of their seeds begin
    _stopped_ends: set[str] = field(default_factory=set)  # last stages of the trials of arms that were stopped
    _is_dry: bool = False  # nothing more could be brought, and nothing has happened since

    def __post_init__(self) -> None:
        self._gates = Gates(self.rungs) if self.rungs else None
        self._admission = Admission(self.account) if self.account else None

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
        if self._admission:
            holds += self._admission.holds(forest, numbers, stored)
        return holds

    def begin(self, state: SweepState, numbers: Iterable[int]) -> None:
        """These trials were taken in: what is known of them already is judged and told."""
        new = list(numbers)
        if self._admission:
            self._admission.begin(state, new, self._is_paused)
        if self._gates:
            self._pause(state, self._gates.begin(state, {self._arm_of[number] for number in new}))
            if state.read_only and not self._is_under_way(state):
                self._gates.stop_paused(state)  # as the launch that ended like this did
        self._leave_diverged(state, new)
        self._note_stopped(state)
        self._tell(state)

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
        if self._is_dry or self._admission is None:
            return False
        return self._admission.take_one_on(state, self._is_paused, self._arm_of)

    @property
    def may_ask(self) -> bool:
        """Whether the search is to be asked for recipes now."""
        has_room = self.account is None or self.account.may_begin_another
        return bool(not self._is_dry and self.search and not self.search.exhausted and has_room)

    def ask(self, state: SweepState) -> list[Recipe]:
        """The recipes that the search wants to be added; none while it waits for results, or where none would fit."""
        admission = self._admission
        if self.search is None:
            return []
        return self.search.ask(lambda recipes: admission is None or admission.fits(state, recipes))

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
        return self._admission is None or self._admission.may_start(state, stage)

    # When a stage has ended

    def stage_done(self, state: SweepState, stage: Stage) -> None:
        if self._admission:
            self._admission.stage_done(state, stage)
        self._ended(state, [stage.key])

    def stage_failed(self, state: SweepState, stage: Stage, epochs: Sequence[Epoch]) -> None:
        """For good, or until it is tried again; `epochs` are those of this attempt."""
        failed = state.schedule.below(stage.key) if stage.key in state.schedule.failures else []
        if self._admission:
            self._admission.stage_failed(state, stage, epochs, failed)
        if self.search and failed and state.schedule.failures[stage.key].fault is Fault.NOT_A_NUMBER:
            ended = set(failed)
            trials = enumerate(state.forest.trials)
            self._leave_diverged(state, [n for n, trial in trials if not ended.isdisjoint(trial.stages)])
        self._ended(state, failed)

    def overspent(self, state: SweepState, running: Mapping[str, Sequence[Epoch]]) -> str | None:
        """The limit that is reached although stages still run, whose epochs so far are these.

        The epoch that each of them is in counts, too: it ends before the stage is saved.
        """
        return self._admission.overspent(state, running) if self._admission else None

    def spent(self, running: Mapping[str, Sequence[Epoch]]) -> Amount:
        """All of this sweep by now, with what stages that run, or ran when it was stopped, have taken so far."""
        assert self._admission is not None
        return self._admission.spent(running)

    def _ended(self, state: SweepState, keys: Iterable[str]) -> None:
        self._is_dry = False
        if self._gates:
            self._pause(state, self._gates.ended(state, keys))
            self._note_stopped(state)
        self._tell(state)
        if self._admission:
            self._admission.try_withheld_again(state)

    def _pause(self, state: SweepState, entrants: Iterable[Entrant]) -> None:
        """What was promised to arms that pause is given up: they are taken on again if they go on."""
        arms = list(dict.fromkeys(arm for entrant in entrants for arm in entrant.gates))
        if self._admission and arms:
            self._admission.take_back(state, (number for arm in arms for number in self._arms[arm]))
        if self.search and self.rungs and not state.read_only:
            for arm in arms:
                self.search.pause(arm, self.rungs.accuracies(arm))

    def _note_stopped(self, state: SweepState) -> None:
        for arm in self._gates.newly_stopped() if self._gates else ():
            trials = [state.forest.trials[number] for number in self._arms[arm]]
            self._stopped_ends |= {trial.stages[-1] for trial in trials}
            if self._admission:
                self._admission.give_up_stopped(state, {key for trial in trials for key in trial.stages})

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
            if self._admission:
                self._admission.give_up_stopped(state, keys)

    def _tell(self, state: SweepState) -> None:
        if self.search is None or state.read_only:
            return
        for arm in self.search.unsettled():
            numbers = self._arms.get(arm, ())
            if numbers and all(state.status(state.forest.trials[number]) in ENDED for number in numbers):
                accuracies = self.rungs.accuracies(arm) if self.rungs else {}
                self.search.tell(arm, [state.result(number) for number in numbers], accuracies)
