"""What a search costs the driver, point by point: python -m benchmarks.searching [--points 100 1000 3000]

Everything is real but the training (see `benchmarks.scale`): Optuna proposes points with a random sampler, their trials
are taken in, trained by logical workers that return a recorded curve, and the study is told. CPU seconds; what grows in
step with the points costs as much a point, however many there are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from benchmarks.scale import Recording, Stopwatch, drive
from search_spaces.expansion import expand
from search_spaces.spec import Spec
from sweeper.launch.launch import Launch, Resources
from sweeper.records.store import Store
from sweeper.search.optuna_study import StudySearch
from sweeper.search.policy import Steering
from sweeper.stages.forest import Cuts
from sweeper.stages.planting import plant

SPEC: dict[str, Any] = {
    "name": "search",
    "recipe": {"network": "lenet", "dataset": "mnist", "preset": "icml", "method": "slot_machine"},
    "budget_epochs": 40,
    "search": {
        "sampler": "random",
        "objectives": ["validation_accuracy"],
        "space": {
            "options": {"integer": [2, 64], "log": True},
            "selection": {"choice": ["greedy", "probabilistic"]},
            "slot_epochs": {"choice": [20, 30, 40]},
            "slot_learning_rate": {"log_uniform": [0.01, 1.0]},
        },
    },
}


def run(points: int, workers: int) -> dict[str, Any]:
    """A search of so many points, from the first to the last."""
    watch = Stopwatch()
    spec = Spec.parse({**SPEC, "search": {**SPEC["search"], "trials": points}})
    with TemporaryDirectory() as name, mock.patch("os.fsync"):
        folder = Path(name)
        recording = Recording(folder / "recorded", watch)
        store, search = Store(folder), StudySearch(spec, folder / "search")
        cuts = Cuts(phases={"slot": frozenset({20, 30})})
        forest = plant(expand(spec), {"mnist": "d"}, store, cuts)
        launch = Launch("search", forest, {"mnist": "d"}, store, Resources(), {}, steering=Steering(search))
        with timed(launch, "add", watch), timed(search, "ask", watch), timed(search, "tell", watch), watch("all"):
            drive(launch, recording, workers)
        assert len(launch.forest.trials) == points and launch.is_over
    seconds = watch.seconds
    seconds["rest of the driver"] = seconds.pop("all") - sum(seconds.values())
    return {
        "points": points,
        "cpu_seconds": {what: round(spent, 2) for what, spent in seconds.items()},
        "cpu_milliseconds_a_point": {what: round(1000 * spent / points, 2) for what, spent in seconds.items()},
    }


@contextmanager
def timed(thing: Any, method: str, watch: Stopwatch) -> Iterator[None]:
    """Counts what a method of this object takes, less what other timed ones take within it."""
    original = getattr(thing, method)

    def measured(*arguments: Any) -> Any:
        inside = sum(watch.seconds.get(other, 0.0) for other in ("tell", "ask", "workers") if other != method)
        started = time.process_time()
        try:
            return original(*arguments)
        finally:
            spent = time.process_time() - started
            inner = sum(watch.seconds.get(other, 0.0) for other in ("tell", "ask", "workers") if other != method)
            watch.seconds[method] = watch.seconds.get(method, 0.0) + spent - (inner - inside)

    with mock.patch.object(thing, method, measured):
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, nargs="+", default=[100, 1000, 3000])
    parser.add_argument("--workers", type=int, default=64)
    arguments = parser.parse_args()
    for points in arguments.points:
        print(json.dumps(run(points, arguments.workers)), flush=True)


if __name__ == "__main__":
    main()
