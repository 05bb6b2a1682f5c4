"""Runs a launch's stages on Ray Tune: a `Searcher` releases a stage when it is ready, actors are used again and again.

A Tune trial is one attempt at one stage. Retries, priorities and failures are the `Launch`'s business, not Tune's.
Call `sweeper.launch.ray_session.quiet` before importing this: Ray reads its settings when it is imported.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sweeper.launch.hung_workers import Silence
from sweeper.launch.last_words import IN_ITS_CREATION, address_in, last_words
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.orders import Step
from sweeper.launch.ray_nodes import Nodes, check_nodes
from sweeper.launch.ray_session import ray_session, servers_are_gone
from sweeper.launch.ray_worker import Code, StageTrainable, as_text, resources_of
from sweeper.stages.faults import Failure, Fault, failure_of
from sweeper.text import in_words
from trainers.errors import InvalidInput

WATCH_SECONDS = 1.0
LAST_CHANCE_SECONDS = 1.0
LOW_ON_MEMORY = "running low on memory"  # what Ray says when it kills a worker to save the rest
STOPPING_SECONDS = 30.0  # for Tune to come to its end, once no epoch runs; after 60 Ray ends this process itself


def run_on_ray(
    launch: Launch,
    refresh: Callable[[], None],
    give_up: Callable[[str], None],
    address: str | None = None,
    epoch_timeout: float | None = None,
) -> None:
    """Runs the stages until the launch is over or told to stop; then running stages are saved after their epoch.

    Calls `give_up` from another thread if Ray dies or does not come to an end: then this may never return.
    Raises InvalidInput where no trial could ever get what it is to have, and where a worker has other code than we.
    """
    code = Code.here()
    silence = Silence(launch, epoch_timeout)
    launch.watchers.append(silence)
    nodes = Nodes(launch.resources, launch.leave_out)
    attendant = _TuneCallback(launch, refresh, silence, nodes)
    with ExitStack() as last, ray_session(address, give_up) as folder, _watchdog(launch, attendant, give_up):
        last.callback(launch.let_go)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        if address is not None:
            check_nodes(nodes, launch.store.root, launch.data_dir, launch.digests, code)
        slots = _slots(launch.resources, nodes.has())
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(slots)  # start that many actors at once
        tuner = tune.Tuner(
            tune.with_resources(StageTrainable, resources_of),
            tune_config=tune.TuneConfig(
                search_alg=StageSearcher(launch, slots, as_text(code), nodes),
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: str(trial.trial_id),
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                stop=_StopWhenAsked(launch, attendant),
                callbacks=[attendant],
            ),
        )
        tuner.fit()
    if launch.refused:
        raise InvalidInput(f"workers: {launch.refused}")


@contextmanager
def _watchdog(launch: Launch, attendant: _TuneCallback, give_up: Callable[[str], None]) -> Iterator[None]:
    """Without its servers Ray waits a minute and then ends the whole process, telling nobody."""
    over = threading.Event()

    def watch() -> None:
        told_at = None
        while not over.wait(WATCH_SECONDS):
            if told_at is None and launch.stop_requested:
                told_at = time.monotonic()
            if servers_are_gone() and not over.wait(LAST_CHANCE_SECONDS):  # what was said last may still be on its way
                give_up("Ray's servers are gone (killed, or out of memory?)")
            if told_at is not None and time.monotonic() - max(told_at, attendant.busy_at) > STOPPING_SECONDS:
                give_up("Ray does not come to an end")

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


def _slots(resources: Resources, cluster: dict[str, float]) -> int:
    """How many trials run at once."""
    fits = [resources.max_parallel] if resources.max_parallel else []
    for name, flag, wanted in (
        ("CPU", "--cpus-per-trial", resources.cpus_per_trial),
        ("GPU", "--gpus-per-trial", resources.gpus_per_trial),
    ):
        if wanted:
            there = cluster.get(name, 0.0)
            if wanted > there:
                raise InvalidInput(f"{flag}: {wanted:g} is more than the {there:g} {name}s that Ray has")
            fits.append(int(there / wanted + 1e-6))
    return max(1, min(fits))


class _NotKept:
    """Tune writes down what it is given, for `Tuner.restore`: of a large sweep that takes long, and nobody reads it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StageSearcher(_NotKept, Searcher):
    """Suggests the stages that are ready."""

    def __init__(self, launch: Launch, slots: int, driver: str, nodes: Nodes) -> None:
        super().__init__()
        self.launch = launch
        self.slots = slots
        self.driver = driver  # its code, as workers are told of it
        self.nodes = nodes
        self.share = {"CPU": launch.resources.cpus_per_trial, "GPU": launch.resources.gpus_per_trial}
        self.live: dict[str, str] = {}  # Tune's trial -> the key of its stage

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """The next stage; None while none is ready, FINISHED once none ever will be."""
        if self.launch.is_over:
            return str(Searcher.FINISHED)
        if len(self.live) >= self.slots:
            return None
        order = self.launch.next_order()
        if order is None:
            return str(Searcher.FINISHED) if self.launch.is_over else None
        self.live[trial_id] = order.stage["key"]
        where = {"share": json.dumps(self.share), "left_out": json.dumps(self.nodes.left_out())}
        return {"order": json.dumps(order.as_dict()), "driver": self.driver, **where}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._take(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        # With error there is no result; the attendant is told of the exception.
        if result and not error:
            self._take(trial_id, result)  # the last result comes here only
        self.live.pop(trial_id, None)

    def _take(self, trial_id: str, result: dict[str, Any]) -> None:
        if trial_id in self.live and "refused" in result:
            self.launch.refuse(self.live[trial_id], result["refused"])
        elif trial_id in self.live and "step" in result:
            self.launch.take(self.live[trial_id], Step.from_dict(json.loads(result["step"])))

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the store holds all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: launching again goes on from the store."""


class _TuneCallback(_NotKept, tune.Callback):
    """Refreshes the display, hears of workers that died, kills those that hang, and tells nodes that fail."""

    def __init__(self, launch: Launch, refresh: Callable[[], None], silence: Silence, nodes: Nodes) -> None:
        self.launch = launch
        self.refresh = refresh
        self.silence = silence
        self.nodes = nodes
        self.busy_at = 0.0  # when it last saw a stage run
        self._workers: dict[str, Any] = {}  # Tune's trial -> the actor that runs it
        self._killed: dict[str, Failure] = {}  # Tune's trial -> why its actor was killed

    @property
    def runs_something(self) -> bool:
        return bool(self._workers)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self._workers:
            self.busy_at = time.monotonic()
        hanging = dict(self.silence.overdue())
        for trial in trials if hanging else ():
            key = _key_of(trial)
            if key in hanging and trial.trial_id in self._workers:
                self.silence.forget(key)
                self._killed[trial.trial_id] = _hung(hanging[key])
                ray.kill(self._workers[trial.trial_id])  # works on a stopped process too: its node sees to that
        self.refresh()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._workers[trial.trial_id] = trial.temporary_state.ray_actor
        self.silence.started(_key_of(trial))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._workers.pop(trial.trial_id, None)
        if (step := _last_step(trial)) and step.done and step.failure is None:
            self.nodes.came_through(trial.last_result.get("node", ""))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._workers.pop(trial.trial_id, None)
        killed, step = self._killed.pop(trial.trial_id, None), _last_step(trial)
        failure, text = step.failure if step else None, ""
        if failure is None:  # else its worker has said why, and ended itself
            error, text = _error_of(trial)
            failure = killed or failure_of_worker(error, text)
            self.launch.fail(_key_of(trial), failure)
        self.nodes.failed((trial.last_result or {}).get("node") or self.nodes.at(address_in(text)), failure)


class _StopWhenAsked(_NotKept, tune.Stopper):
    """Each stage after the epoch that it is in, however long that takes: told to stop all, Tune kills after 15 s."""

    def __init__(self, launch: Launch, attendant: _TuneCallback) -> None:
        self.launch = launch
        self.attendant = attendant

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.launch.stop_requested

    def stop_all(self) -> bool:
        return self.launch.stop_requested and not self.attendant.runs_something


def _last_step(trial: Trial) -> Step | None:
    """What its worker said last, if anything."""
    step = (trial.last_result or {}).get("step")
    return Step.from_dict(json.loads(step)) if step else None


def _key_of(trial: Trial) -> str:
    return str(json.loads(trial.config["order"])["stage"]["key"])


def _hung(limit_seconds: float) -> Failure:
    limit = in_words(limit_seconds)
    return Failure(Fault.INFRASTRUCTURE, f"its worker hung: no epoch within {limit}, so it was killed")


def _error_of(trial: Trial) -> tuple[BaseException | None, str]:
    """What ended its worker, where Tune keeps that, and its text.

    Read where the driver writes it: `Trial.get_pickled_error` looks where it is copied to, and that is later. Of what
    is neither a task's nor an actor's own error, such as a kill for want of memory, Tune keeps no more than the text.
    """
    text = ""
    if trial.error_file:
        with suppress(OSError):  # it could not be written: the disk is full, say
            text = Path(trial.error_file).read_text()
    if trial.pickled_error_file:
        with suppress(OSError, EOFError, TypeError, ValueError, AttributeError, ImportError, pickle.UnpicklingError):
            return pickle.loads(Path(trial.pickled_error_file).read_bytes()), text
    return None, text


def failure_of_worker(error: BaseException | None, text: str = "") -> Failure:
    """The failure to note where Ray lost a worker, or one raised an error outside of a stage's code."""
    if isinstance(error, RayTaskError) and isinstance(error.cause, Exception):
        return failure_of(error.cause)
    if isinstance(error, OutOfMemoryError) or (error is None and LOW_ON_MEMORY in text):
        reason = "Ray killed its worker process because the machine ran low on memory"
        return Failure(Fault.OUT_OF_MEMORY, reason, traceback=str(error or text))
    if error is None or isinstance(error, RayError):
        said = str(error or text)
        reason = "its worker could not start" if IN_ITS_CREATION in said else "its worker process died"
        return Failure(Fault.INFRASTRUCTURE, reason, traceback=said, last_words=last_words(said))
    return failure_of(error)
