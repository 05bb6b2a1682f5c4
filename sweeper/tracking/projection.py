"""Projects trials to MLflow: the only writer of it. Projecting again changes nothing that is already right."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from search_spaces.spec import Spec, told_costs, told_tasks
from sweeper.records.environment import sources
from sweeper.records.stage_record import ARTIFACT, selection_text
from sweeper.records.sweep_folder import SweepFile
from sweeper.records.trial_result import TrialResult
from sweeper.search.spec_versions import Versions
from sweeper.stages.status import ENDED, Status
from sweeper.storage.tracking_file import artifacts_of
from sweeper.tracking.experiment import existing_runs, experiment_of
from sweeper.tracking.mlflow_client import (
    Refused,
    TrackingDown,
    Value,
    client,
    log_batch,
    log_text,
    outages,
)
from sweeper.tracking.run_state import RUN_STATUS, SweepFacts, TrackedRun, mark, parameters, run_name
from sweeper.tracking.ui_view import note_to_write
from sweeper.tracking.versions import TrackedVersions

if TYPE_CHECKING:
    from sweeper.tracking.mlflow_client import MlflowClient

METRICS_A_CALL = 900  # MLflow takes 1000 entries in one call, tags included
CONCURRENT_TRIALS = 4  # trials that are projected side by side


@dataclass
class Projection:
    """One sweep in one MLflow. Every method raises TrackingDown where MLflow does not answer."""

    address: str
    artifacts: str | None  # where a new experiment keeps its files; None: the server decides
    sweep: SweepFacts
    versions: TrackedVersions | None = None  # None: it has none, as what was imported
    experiment_id: str = ""
    _client: MlflowClient | None = None
    _is_known: bool = False  # what MLflow has
    _parent: TrackedRun | None = None
    _runs: dict[str, TrackedRun] = field(default_factory=dict)  # by recipe hash
    _made_again: set[str] = field(default_factory=set)
    _totals: dict[str, float] = field(default_factory=dict)
    _settled: dict[str, str] = field(default_factory=dict)  # what the parent run says of versions
    problems: dict[str, str] = field(default_factory=dict)  # what MLflow will not have, and why

    def connect(self) -> None:
        """Finds or makes the experiment and the parent run, and learns what is already there.

        Again after every outage: what was under way then may have arrived although no answer came back.
        """
        if self._is_known:
            return
        with self._outages():
            self._client = client(self.address)
            self.experiment_id = experiment_of(
                self._client, self.sweep, self.artifacts, self.versions.present if self.versions else None
            )
            self._runs, parents, doubles = existing_runs(self._client, self.experiment_id)
            for run in [*doubles, *parents[1:]]:
                self._client.delete_run(run.run_id)
            self._parent = parents[0] if parents else self._create_parent()
            self._describe(self._parent)
            self._settled = {}
            self._is_known = True

    def project(self, result: TrialResult) -> bool:
        """Brings the run of a trial up to date. Returns whether it changed anything."""
        self.connect()
        return self._bring_up_to_date(result)

    def project_together(self, results: Sequence[TrialResult]) -> int:
        """Brings `CONCURRENT_TRIALS` trials at most up to date, side by side. Returns how many it changed.

        A server mostly waits; a database gets them one by one, and SQLite has but one writer anyway.
        """
        self.connect()
        if not self.address.startswith("http"):
            return sum(map(self._bring_up_to_date, results))
        changed: list[bool] = []
        problems: list[TrackingDown] = []

        def bring(result: TrialResult) -> None:
            try:
                changed.append(self._bring_up_to_date(result))
            except TrackingDown as down:  # raised again below, in the thread that asked
                problems.append(down)

        threads = [threading.Thread(target=bring, args=(result,), daemon=True) for result in results]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if problems:
            raise problems[0]
        return sum(changed)

    def is_current(self, result: TrialResult) -> bool:
        """Whether nothing of this trial is left to project, or MLflow will not have it; asks nobody."""
        return self._is_current(result) or result.name in self.problems

    def _bring_up_to_date(self, result: TrialResult) -> bool:
        if self.is_current(result):
            return False
        try:
            with self._outages():
                self._project_trial(result)
        except Refused as refused:
            # Somebody deleted the run, most likely: make another, once.
            recipe_hash = result.trial.recipe.content_hash()
            self._runs.pop(recipe_hash, None)
            if recipe_hash in self._made_again:
                self.problems[result.name] = str(refused)
                return False
            self._made_again.add(recipe_hash)
            return self._bring_up_to_date(result)
        return True

    def behind(self, results: Iterable[TrialResult]) -> int:
        """How many of these trials MLflow does not show as they are; asks nobody."""
        return sum(not self._is_current(result) for result in results)

    def project_sweep(
        self, status: Status, totals: Mapping[str, float], tags: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Brings the sweep's own run up to date: its status, what was spent, what was left out and why."""
        self.connect()
        parent = self._parent
        assert parent is not None and self._client is not None
        with self._outages():
            moved = {name: value for name, value in totals.items() if name != "wall_seconds"}
            if moved != self._totals or parent.status != status:
                now = _milliseconds()
                metrics = [(name, value, now, 0) for name, value in totals.items()]
                self._log(parent.run_id, metrics, {"sweeper.status": status, **tags})
                self._totals = moved
                parent.status = status
            self._set_run_status(parent, status, _milliseconds(self.sweep.ended))

    def settle(self, trials: int) -> None:
        """Tells the sweep's own run which version is the present one, once all its trials belong to it."""
        self.connect()
        tags = self.versions.of_sweep(trials) if self.versions else {}
        if tags != self._settled:
            assert self._parent is not None
            with self._outages():
                self._log(self._parent.run_id, [], tags)
            self._settled = tags

    def forget_strangers(self, known: Iterable[str]) -> None:
        """Updates the runs that the present version lacks: none stays RUNNING, and each names its versions."""
        self.connect()
        with self._outages():
            for recipe_hash in self._runs.keys() - set(known):
                tracked = self._runs[recipe_hash]
                if tracked.run_status == "RUNNING":
                    self._log(tracked.run_id, [], {"sweeper.status": Status.INTERRUPTED})
                    self._set_run_status(tracked, Status.INTERRUPTED, tracked.start_time)
                self._tell_versions(tracked, recipe_hash, None)

    @contextmanager
    def _outages(self) -> Iterator[None]:
        try:
            with outages():
                yield
        except Refused:
            raise
        except TrackingDown:
            self._is_known = False
            raise

    # The parent

    def _create_parent(self) -> TrackedRun:
        assert self._client is not None
        began = _milliseconds(self.sweep.began)
        run = self._client.create_run(
            self.experiment_id, start_time=began, run_name=self.sweep.name, tags={"sweeper.kind": "sweep"}
        )
        return TrackedRun(run.info.run_id, began, run.info.status, "", "", "", run.info.artifact_uri)

    def _describe(self, parent: TrackedRun) -> None:
        assert self._client is not None
        tags = {
            **self._common_tags(),
            "sweeper.kind": "sweep",
            "sweeper.spec_hash": self.sweep.spec_hash,
            "sweeper.costs": json.dumps(self.sweep.costs),
            "sweeper.tasks": json.dumps(self.sweep.tasks),
            **note_to_write(self._client.get_run(parent.run_id).data.tags, self.sweep.description),
        }
        self._log(parent.run_id, [], tags)
        if self.sweep.spec_text:
            self._log_text(parent, self.sweep.spec_text, "spec.yaml")
        for number, text in self.versions.specs.items() if self.versions else ():
            self._log_text(parent, text, f"versions/v{number}.yaml")

    def _log_text(self, tracked: TrackedRun, text: str, name: str) -> None:
        assert self._client is not None
        try:
            with self._outages():
                log_text(self._client, tracked.run_id, tracked.artifacts, text, name)
        except TrackingDown as down:  # an artifact store that fails must not keep the numbers away
            self.problems[name] = str(down)

    def _common_tags(self) -> dict[str, str]:
        owner = {"mlflow.user": self.sweep.tags["owner"]} if self.sweep.tags.get("owner") else {}  # "Created by"
        ours = {f"sweeper.{name}": text for name, text in self.sweep.tags.items()}
        return {"sweeper.sweep": self.sweep.name, **ours, **owner}

    # A trial

    def _is_current(self, result: TrialResult) -> bool:
        tracked = self._runs.get(result.trial.recipe.content_hash())
        if tracked is None:
            return result.status is Status.PENDING and not result.epochs
        return tracked.shows(result) and not self._lacking(tracked, result.trial.recipe.content_hash(), result)

    def _lacking(self, tracked: TrackedRun, recipe_hash: str, result: TrialResult | None) -> dict[str, str]:
        return self.versions.tags(recipe_hash, result, tracked.versions) if self.versions else {}

    def _tell_versions(self, tracked: TrackedRun, recipe_hash: str, result: TrialResult | None) -> None:
        if lacking := self._lacking(tracked, recipe_hash, result):
            self._log(tracked.run_id, [], lacking)
            tracked.versions |= lacking

    def _project_trial(self, result: TrialResult) -> None:
        assert self._client is not None
        recipe_hash = result.trial.recipe.content_hash()
        tracked = self._runs.get(recipe_hash)
        if tracked is not None and not tracked.is_ahead(result) and not tracked.continues(result):
            self._client.delete_run(tracked.run_id)  # the store is the truth
            tracked = None
        if tracked is None:
            tracked = self._runs[recipe_hash] = self._create_run(result)
        status = result.status
        if not tracked.is_ahead(result):
            self._log_epochs(tracked, result)
        elif tracked.status == Status.COMPLETED:
            status = Status.COMPLETED
        elif tags := tracked.new_tags(result):
            self._log(tracked.run_id, [], tags)
            tracked.status, tracked.failure = result.status, str(result.failure or "")
        if not tracked.is_named(result):  # the sweep has grown, and its arms need other names to be told apart
            tracked.name, tracked.arm = run_name(result), result.label
            self._client.update_run(tracked.run_id, name=tracked.name)
            self._log(tracked.run_id, [], {"sweeper.arm": tracked.arm})
        self._tell_versions(tracked, recipe_hash, result)
        self._set_run_status(tracked, status, tracked.start_time + round(1000 * result.seconds))

    def _create_run(self, result: TrialResult) -> TrackedRun:
        assert self._client is not None and self._parent is not None
        recipe = result.trial.recipe
        began = _milliseconds(result.ended_at) - (round(1000 * result.seconds) if result.ended_at else 0)
        versions = self.versions.tags(recipe.content_hash(), result, {}) if self.versions else {}
        tags = {
            **self._common_tags(),
            "mlflow.parentRunId": self._parent.run_id,
            "sweeper.kind": "trial",
            "sweeper.arm": result.label,
            "sweeper.arm_hash": recipe.arm_hash(),
            "sweeper.recipe_hash": recipe.content_hash(),
            "sweeper.seed": str(recipe.seed),
            "sweeper.preset": recipe.preset,
            **({} if result.search_trial is None else {"sweeper.search_trial": str(result.search_trial)}),
            **versions,
        }
        run = self._client.create_run(self.experiment_id, start_time=began, run_name=run_name(result), tags=tags)
        named = (run.info.artifact_uri, run_name(result), result.label)
        return TrackedRun(run.info.run_id, began, run.info.status, "", "", "", *named, versions=versions)

    def _log_epochs(self, tracked: TrackedRun, result: TrialResult) -> None:
        metrics = list(tracked.new_values(result))
        fields = {} if tracked.projected else parameters(result)
        if result.snapshots and not tracked.has_finals:
            self._log_text(tracked, selection_text(result.snapshots), ARTIFACT)
        while len(metrics) > METRICS_A_CALL:
            self._log(tracked.run_id, metrics[:METRICS_A_CALL], {})
            metrics = metrics[METRICS_A_CALL:]
        shown = mark(result, len(result.epochs))
        self._log(tracked.run_id, metrics, {"sweeper.projected": shown, **tracked.new_tags(result)}, fields)
        tracked.projected, tracked.verified = shown, True
        tracked.status, tracked.failure = result.status, str(result.failure or "")

    def _log(
        self, run_id: str, values: Sequence[Value], tags: Mapping[str, str], parameters: Mapping[str, str] | None = None
    ) -> None:
        assert self._client is not None
        log_batch(self._client, run_id, values, tags, parameters or {})

    def _set_run_status(self, tracked: TrackedRun, status: Status, end_time: int) -> None:
        assert self._client is not None
        wanted = RUN_STATUS[status]
        if tracked.run_status == wanted:
            return
        if status in ENDED:
            self._client.set_terminated(tracked.run_id, wanted, end_time=end_time)
        else:
            self._client.update_run(tracked.run_id, status=wanted)
        tracked.run_status = wanted


def _milliseconds(at: str = "") -> int:
    """Since 1970, of a time in ISO 8601, or else of now."""
    return round(1000 * datetime.fromisoformat(at).timestamp()) if at else time.time_ns() // 1_000_000


def projection_of(spec: Spec, file: SweepFile, versions: Versions) -> Projection:
    """The projection of a sweep to the MLflow that its file names."""
    tags = {**sources(), "owner": file.owner}
    facts = SweepFacts(
        spec.name, spec.description, spec.to_yaml(), spec.content_hash(), tags, tuple(spec.varied_fields()),
        told_costs(spec), told_tasks(spec),
        began=str(file.launches[0]["started_at"]) if file.launches else "",
        ended=str(file.launches[-1].get("ended_at", "")) if file.launches else "",
    )  # fmt: skip
    return Projection(file.tracking, artifacts_of(file.tracking, spec.name), facts, TrackedVersions.of(versions))
