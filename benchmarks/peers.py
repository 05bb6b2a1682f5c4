"""A sweep by `sweeper launch`, beside plain ways to run the same trials: python -m benchmarks.peers

The same trials of the same training code (`trainers.TrainingRun`), each alone and from the start, which is what these
ways can do; ours share what they have in common. Every way is one command on this machine with two workers of a thread
each, timed by the clock from its start to the end of its process, by default one after the other:

    sweeper    sweeper launch, MLflow on SQLite
    tune       a Ray Tune function that reports every epoch, with Tune's MLflowLoggerCallback on SQLite
    optuna     two processes on one study in SQLite, by a GridSampler, which report every epoch; no MLflow
    loop       two processes, half the trials each, that record nothing: what the training alone takes

Then what each has recorded, and what our command takes when it is given again; the others train everything again.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from search_spaces.expansion import expand
from search_spaces.loading import load_spec

WORKERS = 2
MLFLOW_ROWS = ("runs", "params", "metrics")  # tables of MLflow's database,
OPTUNA_ROWS = ("trials", "trial_intermediate_values")  # and of Optuna's
# A thread each; and no token from Ray, which by itself leaves one at home that every later cluster here then asks for.
VARIABLES = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}


def recipes_of(spec: str) -> list[dict[str, Any]]:
    """The recipes of a spec's trials, as plain values."""
    return [recipe.model_dump(mode="json", exclude_none=True) for recipe in expand(load_spec(spec))]


def train(fields: dict[str, Any], report: Callable[[dict[str, float]], None]) -> None:
    """Trains one trial from the start, and reports each epoch as it ends, then the test."""
    import torch

    from trainers import Recipe, TrainingRun, load_splits

    torch.set_num_threads(1)
    recipe = Recipe.model_validate(fields)
    run = TrainingRun(recipe, load_splits(recipe, None))
    for epoch in run.epochs():
        report({name: value for name, value in epoch.as_dict().items() if isinstance(value, int | float)})
    report({"test_accuracy": run.test().accuracy})


# The ways, each in processes of its own


def by_sweeper(spec: str, folder: Path) -> None:
    command = [sys.executable, "-m", "sweeper", "launch", spec, "--storage", str(folder / "storage")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def by_tune(spec: str, folder: Path) -> None:
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    def trial(config: dict[str, Any]) -> None:
        train(config["recipe"], tune.report)

    name = Path(spec).stem
    logger = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/mlflow.db", experiment_name=name)
    # One axis of whole recipes, since the trials of a sweep need not be the product of a few axes.
    space = {"recipe": tune.grid_search(recipes_of(spec))}
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(max_concurrent_trials=WORKERS),
        run_config=tune.RunConfig(name=name, storage_path=str(folder), callbacks=[logger], verbose=0),
    )
    if tuner.fit().num_errors:
        raise SystemExit("a trial failed")


def by_optuna(spec: str, folder: Path) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    recipes = recipes_of(spec)
    sampler = optuna.samplers.GridSampler({"recipe": list(range(len(recipes)))})
    study = optuna.load_study(storage=_study_of(folder), study_name=spec, sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        shown: dict[str, float] = {}

        def report(metrics: dict[str, float]) -> None:
            if "validation_accuracy" in metrics:
                trial.report(metrics["validation_accuracy"], int(metrics["total_epoch"]))
            shown.update(metrics)

        number = trial.suggest_int("recipe", 0, len(recipes) - 1)
        train(recipes[number], report)
        return shown["validation_accuracy"]

    study.optimize(objective)


def by_loop(spec: str, folder: Path) -> None:
    for recipe in recipes_of(spec)[int(folder.name) :: WORKERS]:
        train(recipe, lambda metrics: None)


def _study_of(folder: Path) -> str:
    return f"sqlite:///{folder}/optuna.db"


WAYS = {"sweeper": by_sweeper, "tune": by_tune, "optuna": by_optuna, "loop": by_loop}


# Timed from outside


def run(way: str, spec: str, folder: Path) -> float:
    """Seconds by the clock until all processes of this way have ended."""
    began = time.perf_counter()
    if way == "optuna":
        import optuna  # two processes that make the tables at once fail

        optuna.create_study(storage=_study_of(folder), study_name=spec, direction="maximize")
        _end_all([_start(way, spec, folder) for _ in range(WORKERS)])
    elif way == "loop":
        _end_all([_start(way, spec, folder / str(number)) for number in range(WORKERS)])
    else:
        _end_all([_start(way, spec, folder)])
    return time.perf_counter() - began


def _start(way: str, spec: str, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "benchmarks.peers", "--here", way, "--spec", spec, "--folder", str(folder)]
    with (folder / "output").open("a") as output:  # of libraries that cannot be kept quiet
        return subprocess.Popen(command, stdout=output, stderr=output, text=True, env={**os.environ, **VARIABLES})


def _end_all(processes: Sequence[subprocess.Popen[str]]) -> None:
    if any([process.wait() for process in processes]):
        raise SystemExit(f"it failed: {[process.args for process in processes]}")


def recorded(folder: Path) -> dict[str, int]:
    """The rows of the databases in a folder, its kilobytes, and the stages that training could go on from."""
    found: dict[str, int] = {}
    for database in sorted(folder.rglob("*.db")):
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            for table in OPTUNA_ROWS if database.name == "optuna.db" else MLFLOW_ROWS:
                (found[table],) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    found["states"] = len(list(folder.rglob("state.safetensors")))
    found["kilobytes"] = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) // 1000
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spec", default="digits_quickstart", help="a bundled spec of digits, or a file")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=2, help="of all ways, in turn; the fastest of each is shown")
    parser.add_argument("--here", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        WAYS[arguments.here](arguments.spec, arguments.folder)
        return
    print(f"{len(recipes_of(arguments.spec))} trials of {arguments.spec}, {WORKERS} workers\n", flush=True)
    rows: dict[str, dict[str, Any]] = {way: {"seconds": [], "again": []} for way in arguments.ways}
    for _ in range(arguments.rounds):
        for way, row in rows.items():
            with TemporaryDirectory() as name:
                row["seconds"].append(run(way, arguments.spec, Path(name)))
                print(json.dumps({way: row}), flush=True)
                row["recorded"] = recorded(Path(name))
                if way == "sweeper":
                    row["again"].append(run(way, arguments.spec, Path(name)))
    ours = min(rows["sweeper"]["seconds"]) if "sweeper" in rows else float("nan")
    print(f"\n{'':10}{'seconds':>9}{'x ours':>8}{'again':>8}  recorded")
    for way, row in rows.items():
        told = ", ".join(f"{count:,} {what}" for what, count in row["recorded"].items())
        least, again = min(row["seconds"]), f"{min(row['again']):.1f}" if row["again"] else "–"
        print(f"{way:10}{least:>9.1f}{least / ours:>8.1f}{again:>8}  {told}")


if __name__ == "__main__":
    main()
