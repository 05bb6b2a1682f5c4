"""What rungs do to the stages right after them: they are held until their arms are judged, then released or stopped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.records.trial_result import trial_epochs
from sweeper.search.rungs import Entrant, RungBook
from sweeper.search.sweep_state import SweepState
from sweeper.stages.forest import Forest
from sweeper.stages.status import OVER, StageStatus


@dataclass
class Gates:
    """The rungs of one launch, and the stages that they hold."""

    book: RungBook
    paused: dict[str, str] = field(default_factory=dict)  # arms that may go on later: the rung that each is at
    _held: set[str] = field(default_factory=set)
    _stopped: set[str] = field(default_factory=set)  # arms, since `newly_stopped` was asked last
    _passed: set[str] = field(default_factory=set)  # those that were released

    def enter(self, forest: Forest, arms: Mapping[str, Sequence[int]], cells: Mapping[str, str]) -> list[str]:
        """Takes in arms (by hash: the numbers of their trials); returns the stages to hold, each once."""
        new: dict[str, None] = {}
        for entrant in self.book.enter(forest, arms, cells):
            for key in entrant.gated:
                if key not in self._held and key not in self._passed:
                    new[key] = None
        self._held.update(new)
        return list(new)

    def begin(self, state: SweepState, arms: Iterable[str]) -> list[Entrant]:
        """Judges those of these arms that have come to a rung by now; returns where they pause."""
        entrants = [entrant for entrant in self.book.entrants.values() if not entrant.gates.keys().isdisjoint(arms)]
        return self._judge_all(state, entrants)

    def ended(self, state: SweepState, keys: Iterable[str]) -> list[Entrant]:
        """Judges those that have come to a rung in one of these stages, now ended; returns where they pause."""
        return self._judge_all(state, [entrant for key in keys for entrant in self.book.waiting_for(key)])

    def promote(self, state: SweepState, is_last: bool) -> bool:
        """Lets those go on that are to; `is_last`: no more arms can come to any rung. False: there are none.

        Raises StoreError.
        """
        due = self.book.due(is_last)
        for entrant in due:
            self.book.promote(entrant)
            self._release(state, entrant)
        return bool(due)

    def stop_paused(self, state: SweepState) -> bool:
        """Stops all that pauses, for in this launch it goes on no more. False: nothing pauses."""
        rungs = set(self.paused.values())
        for rung_key in rungs:
            self._stop(state, self.book.entrants[rung_key])
        return bool(rungs)

    def newly_stopped(self) -> set[str]:
        """The arms that were stopped since this was asked last."""
        stopped, self._stopped = self._stopped, set()
        return stopped

    # How

    def _judge_all(self, state: SweepState, entrants: Iterable[Entrant]) -> list[Entrant]:
        pausing = []
        for entrant in entrants:
            if not self._judge(state, entrant):
                continue
            if self.book.judgements[entrant.rung_key].goes_on:
                self._release(state, entrant)
            elif not self.book.rungs.pauses:
                self._stop(state, entrant)
            elif any(state.schedule.status(gate) is StageStatus.WAITING for gate in entrant.gated):
                self.paused |= {arm: entrant.rung_key for arm, gates in entrant.gates.items() if gates}
                pausing.append(entrant)
        return pausing

    def _judge(self, state: SweepState, entrant: Entrant) -> bool:
        """Whether it is decided by now: once all seeds have come, or failed."""
        if entrant.rung_key in self.book.judgements:
            return True
        states = [state.schedule.status(key) for key in entrant.needs]
        if state.read_only or not set(states) <= {StageStatus.DONE, StageStatus.FAILED}:
            return False
        curves = [
            [float(epoch["validation_accuracy"]) for epoch in trial_epochs(trial, state.records)[: entrant.epoch]]
            for trial, stage in zip((state.forest.trials[n] for n in entrant.trials), states, strict=True)
            if stage is StageStatus.DONE
        ]
        if curves:
            self.book.judge(entrant, curves)
        return bool(curves)

    def _release(self, state: SweepState, entrant: Entrant) -> None:
        gates = self._gates_at(entrant)
        self._held -= gates
        self._passed |= gates
        state.schedule.release(gates)

    def _stop(self, state: SweepState, entrant: Entrant) -> None:
        """Unless some of those who share all up to here go on, or are not judged yet."""
        together = self.book.at_one_place(entrant)
        judgements = [self.book.judgements.get(other.rung_key) for other in together]
        if any(judgement is None or judgement.goes_on for judgement in judgements):
            return
        gates = {key for key in self._gates_at(entrant) if state.schedule.status(key) not in OVER}
        state.schedule.stop(gates)
        self._stopped |= {arm for other in together for arm, own in other.gates.items() if own & gates}

    def _gates_at(self, entrant: Entrant) -> set[str]:
        """The stages that are held right after a place, whose arms pause no more."""
        gates: set[str] = set()
        for other in self.book.at_one_place(entrant):
            gates |= other.gated & self._held
            for arm in other.gates:
                self.paused.pop(arm, None)
        return gates
