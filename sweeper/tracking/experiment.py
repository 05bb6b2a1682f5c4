"""A sweep's experiment in MLflow: found or made, its runs listed, its page and its report."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.tracking.mlflow_client import TrackingDown, client, log_artifact, outages, that_answers
from sweeper.tracking.run_state import SweepFacts, TrackedRun
from sweeper.tracking.ui_view import NOTE, note_to_write, report_link, runs_page, trials_view
from sweeper.tracking.ui_view import TAG as VIEW

if TYPE_CHECKING:
    from sweeper.tracking.mlflow_client import MlflowClient

PAGE = 1000
SWEEPS_OWN = "tags.`sweeper.kind` = 'sweep'"  # the runs of sweeps, not of trials


def experiment_of(client: MlflowClient, sweep: SweepFacts, artifacts: str | None, version: int | None) -> str:
    """Finds or makes a sweep's experiment, with its description and a view of its trials; returns its id."""
    experiment = client.get_experiment_by_name(sweep.name)
    number = experiment.experiment_id if experiment else client.create_experiment(sweep.name, artifacts)
    if experiment and experiment.lifecycle_stage != "active":
        client.restore_experiment(number)
    known = experiment.tags if experiment else {}
    for tag, text in note_to_write(known, sweep.description).items():
        client.set_experiment_tag(number, tag, text)
    if known.get(VIEW) != (view := trials_view(sweep.varied, version, sweep.costs)):
        client.set_experiment_tag(number, VIEW, view)
    return str(number)


def existing_runs(
    client: MlflowClient, experiment_id: str
) -> tuple[dict[str, TrackedRun], list[TrackedRun], list[TrackedRun]]:
    """The runs of trials by recipe hash, the parent runs, the oldest first, and second runs of the same trials."""
    trials: dict[str, TrackedRun] = {}
    parents: list[TrackedRun] = []
    doubles: list[TrackedRun] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], max_results=PAGE, page_token=token, order_by=["start_time ASC"])
        for run in page:
            kind, found = run.data.tags.get("sweeper.kind"), TrackedRun.of(run)
            if kind == "sweep":
                parents.append(found)
            elif kind == "trial":
                recipe_hash = run.data.tags.get("sweeper.recipe_hash", "")
                known = trials.get(recipe_hash, found)
                trials[recipe_hash] = max(known, found, key=lambda run: run.epochs)
                doubles += [found if trials[recipe_hash] is known else known] if known is not found else []
        token = page.token
        if not token:
            return trials, parents, doubles


def sweep_page(address: str, sweep: str) -> str | None:
    """The page of a sweep in MLflow's UI; None where MLflow has none of this name. Raises InvalidInput."""
    with that_answers(address):
        experiment = client(address).get_experiment_by_name(sweep)
    if experiment is None or experiment.lifecycle_stage != "active":
        return None
    return runs_page(experiment.experiment_id, VIEW in experiment.tags)


def is_launched(address: str, sweep: str) -> bool:
    """Whether MLflow has a sweep of this name that was not imported. Raises InvalidInput."""
    with that_answers(address):
        mlflow = client(address)
        experiment = mlflow.get_experiment_by_name(sweep)
        parents = mlflow.search_runs([experiment.experiment_id], SWEEPS_OWN, max_results=1) if experiment else []
    return any("sweeper.imported" not in run.data.tags for run in parents)


def knows(address: str, sweep: str) -> bool:
    """Whether MLflow has an experiment of this name, a deleted one too. Raises TrackingDown."""
    with outages():
        return client(address).get_experiment_by_name(sweep) is not None


def rename_experiment(address: str, sweep: str, name: str) -> None:
    """Gives a sweep's experiment and runs another name; does nothing where that was done. Raises TrackingDown."""
    with outages():
        mlflow = client(address)
        experiment = mlflow.get_experiment_by_name(sweep)
        if experiment is None:
            return
        trials, parents, doubles = existing_runs(mlflow, experiment.experiment_id)
        for run in [*trials.values(), *doubles, *parents]:
            mlflow.set_tag(run.run_id, "sweeper.sweep", name)
        for run in parents:
            mlflow.update_run(run.run_id, name=name)
        mlflow.rename_experiment(experiment.experiment_id, name)  # last: by this it is known to be done


def delete_experiment(address: str, sweep: str) -> bool:
    """Moves a sweep's experiment to MLflow's trash; returns whether it was outside of it. Raises TrackingDown."""
    with outages():
        mlflow = client(address)
        experiment = mlflow.get_experiment_by_name(sweep)
        if experiment is None or experiment.lifecycle_stage != "active":
            return False
        mlflow.delete_experiment(experiment.experiment_id)
        return True


def log_report(address: str, sweeps: Iterable[str], page: Path) -> str:
    """Puts a report's page, and what its first screen shows, among the artifacts of each sweep's own run.

    MLflow shows pictures and tables beside their names. Returns what went wrong, or nothing.
    """
    try:
        with outages():
            mlflow = client(address)
            found = [mlflow.get_experiment_by_name(sweep) for sweep in sweeps]
            for experiment in filter(None, found):
                parents = mlflow.search_runs(
                    [experiment.experiment_id], SWEEPS_OWN, order_by=["start_time ASC"], max_results=1
                )
                for run in parents:
                    for file in (page, *sorted(page.parent.glob("first-screen.*"))):
                        log_artifact(mlflow, run.info.run_id, run.info.artifact_uri, file)
                    note = report_link(experiment.tags.get(NOTE, ""), experiment.experiment_id, run.info.run_id)
                    mlflow.set_experiment_tag(experiment.experiment_id, NOTE, note)
    except TrackingDown as down:
        return str(down)
    return ""
