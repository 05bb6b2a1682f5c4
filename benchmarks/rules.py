"""What each rule at rungs spends and misses, by simulation: python -m benchmarks.rules [--arms 17 --repeats 100]

Arms with made-up curves of 27 epochs come to rungs at 3 and 9, of which one of three is to go on; four workers.
Beside ours: the pruners of Optuna and the scheduler of Ray Tune themselves, whose trials run on until they are stopped.
Epochs: the share of all that is trained. Regret: how much better the best arm is than the best that completed, in
points. Nothing is trained; seconds.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import exp
from statistics import fmean
from types import SimpleNamespace
from typing import Protocol

from search_spaces.spec import Rungs
from sweeper.search.rungs import Entrant, RungBook

EPOCHS, AT, REDUCTION, WORKERS = 27, (3, 9), 3, 4
Curve = Sequence[float]


class Rule(Protocol):
    """Who goes on from a rung."""

    at_once: bool  # a trial that goes on keeps its worker

    def arrived(self, arm: int, epoch: int, curve: Curve) -> bool: ...
    def later(self, is_last: bool) -> list[int]: ...


class Ours:
    """The book that launches use."""

    at_once = False

    def __init__(self, name: str, brackets: int = 1) -> None:
        own = {} if name == "median" else {"reduction": REDUCTION}
        own |= {} if name == "synchronous" else {"min_trials": 1}
        rungs = {"rule": name, "epochs": list(AT), "brackets": brackets, **own}
        self.book = RungBook(Rungs.model_validate(rungs))
        self.edges, self.lots = list(accumulate(self.book.rungs.shares()))[:-1], random.Random(7)
        self.brackets: dict[int, int] = {}

    def arrived(self, arm: int, epoch: int, curve: Curve) -> bool:
        """Whether it goes on at once."""
        if arm not in self.brackets:
            lot = self.lots.random()
            self.brackets[arm] = sum(lot >= edge for edge in self.edges)
        if epoch not in self.book.rungs.in_bracket(self.brackets[arm]):
            return True
        entrant = Entrant(f"{arm} {epoch}", epoch, "", [arm], [], cell=str(self.brackets[arm]))
        self.book.entrants[entrant.rung_key] = entrant
        return self.book.judge(entrant, [curve]).goes_on

    def later(self, is_last: bool) -> list[int]:
        """Those that paused and go on now."""
        due = self.book.due(is_last)
        for entrant in due:
            self.book.promote(entrant)
        return [entrant.trials[0] for entrant in due]


class OptunaRule:
    """A pruner of Optuna, asked as its users do."""

    at_once = True

    def __init__(self, name: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        pruners = optuna.pruners
        pruner: optuna.pruners.BasePruner = pruners.MedianPruner(n_startup_trials=1)
        if name == "SuccessiveHalving":
            pruner = pruners.SuccessiveHalvingPruner(min_resource=AT[0], reduction_factor=REDUCTION)
        self.study = optuna.create_study(direction="maximize", pruner=pruner)
        self.trials: dict[int, optuna.Trial] = {}

    def arrived(self, arm: int, epoch: int, curve: Curve) -> bool:
        """Whether it goes on."""
        from optuna.trial import TrialState

        if arm not in self.trials:
            self.trials[arm] = self.study.ask()
        trial = self.trials[arm]
        trial.report(curve[-1], step=epoch)
        goes_on = not trial.should_prune()
        if not goes_on:
            self.study.tell(trial, state=TrialState.PRUNED)
        elif epoch == AT[-1]:
            self.study.tell(trial, curve[-1])
        return goes_on

    def later(self, is_last: bool) -> list[int]:
        """Nobody: what is pruned stays pruned."""
        return []


class RayRule:
    """A bracket of Ray Tune's AsyncHyperBandScheduler."""

    at_once = True

    def __init__(self, name: str) -> None:
        from ray.tune.schedulers.async_hyperband import _Bracket

        self.bracket = _Bracket(AT[0], EPOCHS, REDUCTION, 0, stop_last_trials=False)

    def arrived(self, arm: int, epoch: int, curve: Curve) -> bool:
        """Whether it goes on."""
        return str(self.bracket.on_result(SimpleNamespace(trial_id=f"{arm}"), epoch, curve[-1])) != "STOP"

    def later(self, is_last: bool) -> list[int]:
        """Nobody: what is stopped stays so."""
        return []


RULES: dict[str, Callable[[], Rule]] = {
    "asha": lambda: Ours("asha"),
    "synchronous": lambda: Ours("synchronous"),
    "asha, 3 brackets": lambda: Ours("asha", 3),
    "synchronous, 3 brackets": lambda: Ours("synchronous", 3),
    "stop": lambda: Ours("stop"),
    "median": lambda: Ours("median"),
    "Optuna SuccessiveHalving": lambda: OptunaRule("SuccessiveHalving"),
    "Optuna Median": lambda: OptunaRule("Median"),
    "Ray ASHA": lambda: RayRule("ASHA"),
}


def simulate(rule: Rule, curves: Sequence[Curve]) -> tuple[int, set[int]]:
    """The epochs that were trained, and the arms that completed; arms come in their order."""
    stops = [*AT, EPOCHS]
    ready = [(0, arm) for arm in range(len(curves))]  # a heap: fresh arms have the longest way to go
    running: list[tuple[int, int, int]] = []  # when a stretch ends, its arm, the epoch that it comes to
    came_to = [0] * len(curves)
    spent, now, completed = 0, 0, set[int]()

    def start(arm: int) -> None:
        end = next(stop for stop in stops if stop > came_to[arm])
        heapq.heappush(running, (now + end - came_to[arm], arm, end))

    while True:
        while len(running) < WORKERS:
            if not ready:
                for arm in rule.later(is_last=False) or (rule.later(is_last=True) if not running else []):
                    heapq.heappush(ready, (came_to[arm], arm))
            if not ready:
                break
            start(heapq.heappop(ready)[1])
        if not running:
            return spent, completed
        now, arm, end = heapq.heappop(running)
        spent, came_to[arm] = spent + end - came_to[arm], end
        if end == EPOCHS:
            completed.add(arm)
        elif rule.arrived(arm, end, curves[arm][:end]):
            if rule.at_once:
                start(arm)
            else:
                heapq.heappush(ready, (end, arm))


def made_up(kind: str, arms: int, chance: random.Random) -> list[Curve]:
    """Monotone: the order of the arms never changes; crossing: better ones are slower; noisy: 3 points of noise."""
    curves: list[Curve] = []
    for _ in range(arms):
        best = chance.uniform(0.6, 0.95)
        slowness = 1.5 + 12 * (best - 0.6) * chance.random() if kind == "crossing" else 3.0
        noise = 0.03 if kind == "noisy" else 0.0
        curves.append([best * (1 - exp(-t / slowness)) + chance.gauss(0, noise) for t in range(1, EPOCHS + 1)])
    return curves


def ordered(order: str, curves: list[Curve]) -> list[Curve]:
    """The arms as they come: at random as they were made, or by their last accuracy."""
    last = [curve[-1] for curve in curves]
    if order == "random":
        return curves
    places = sorted(range(len(curves)), key=last.__getitem__, reverse=order == "descending")
    return [curves[place] for place in places]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arms", type=int, default=17)
    parser.add_argument("--repeats", type=int, default=100)
    asked = parser.parse_args()
    cases = [("monotone", "random"), ("monotone", "ascending"), ("monotone", "descending"),
             ("crossing", "random"), ("noisy", "random")]  # fmt: skip
    print(f"{asked.arms} arms; epochs in % of all, regret in points, arms completed; mean of {asked.repeats}\n")
    print(f"{'rule':26}" + "".join(f"{kind + ' ' + order:>24}" for kind, order in cases))
    for name, rule in RULES.items():
        cells = []
        for kind, order in cases:
            chance, found = random.Random(7), []
            for _ in range(asked.repeats):
                curves = ordered(order, made_up(kind, asked.arms, chance))
                spent, completed = simulate(rule(), curves)
                last = [curve[-1] for curve in curves]
                regret = max(last) - max((last[arm] for arm in completed), default=0.0)
                found.append((100 * spent / (EPOCHS * len(curves)), 100 * regret, len(completed)))
            epochs, regret, number = (fmean(column) for column in zip(*found, strict=True))
            cells.append(f"{epochs:9.0f} {regret:7.2f} {number:6.1f}")
        print(f"{name:26}" + "".join(f"{cell:>24}" for cell in cells))


if __name__ == "__main__":
    main()
