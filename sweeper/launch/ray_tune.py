"""Runs a launch's stages on Ray Tune: a `Searcher` asks for workers when stages are ready, actors are used again.

A Tune trial is one worker for one stage, which it is given when it has started. Retries, priorities and failures are
the `Launch`'s business, not Tune's.
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

from ray import tune, util
from ray.exceptions import OutOfMemoryError, RayError, RayTaskError
from ray.tune.experiment import Trial
from ray.tune.search import Searcher

from sweeper.launch.cluster.kernel_kills import DIED, KernelKills
from sweeper.launch.cluster.nodes import Nodes, Scaling
from sweeper.launch.cluster.sight import Sight
from sweeper.launch.cluster.workforce import Workforce
from sweeper.launch.hung_workers import Silence
from sweeper.launch.last_words import IN_ITS_CREATION, address_in, last_words
from sweeper.launch.launch import Launch
from sweeper.launch.orders import Step
from sweeper.launch.own_ray.servers import workers_without_environment
from sweeper.launch.ray_nodes import check_nodes, question_of
from sweeper.launch.ray_session import Prepared, ray_session, servers_are_gone
from sweeper.launch.ray_worker import Code, StageTrainable, as_text, resources_of
from sweeper.stages.faults import Failure, Fault, failure_of
from trainers.errors import InvalidInput

MOST_PENDING = 1_000  # trials of Tune's that wait for room; it reads this once, and `suggest` says how many there are
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
    scaling: Scaling | None = None,
    prepared: Prepared | None = None,
) -> None:
    """Runs the stages until the launch is over or told to stop; then running stages are saved after their epoch.

    Calls `give_up` from another thread if Ray dies or does not come to an end: then this may never return.
    Raises InvalidInput where no trial could ever get what it is to have, and where a worker has other code than we.
    """
    code = Code.here()
    silence = Silence(launch, epoch_timeout)
    launch.watchers.append(silence)
    with ExitStack() as last, ray_session(address, give_up, prepared) as folder:
        last.callback(launch.let_go)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        sight = Sight(reach_out=address is not None)
        last.callback(sight.close)
        nodes = Nodes(launch, sight, scaling or Scaling(), asks_first=address is not None)
        nodes.check_room()
        question = last.enter_context(question_of(launch))
        if address is not None:
            check_nodes(nodes, question, code)
        else:
            last.enter_context(workers_without_environment())
        workforce = Workforce(launch, nodes, silence, question)
        attendant = _TuneCallback(workforce, refresh)
        nodes.refresh()
        with _watchdog(launch, attendant, give_up):
            _tuner(workforce, attendant, as_text(code), folder).fit()
    if launch.refused:
        raise InvalidInput(f"workers: {launch.refused}")


def _tuner(workforce: Workforce, attendant: _TuneCallback, code: str, folder: Path) -> tune.Tuner:
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(MOST_PENDING)
    return tune.Tuner(
        tune.with_resources(StageTrainable, resources_of),
        tune_config=tune.TuneConfig(
            search_alg=StageSearcher(workforce, code),
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
            stop=_StopWhenAsked(workforce),
            callbacks=[attendant],
        ),
    )


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


class _NotKept:
    """Tune writes down what it is given, for `Tuner.restore`: of a large sweep that takes long, and nobody reads it."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class StageSearcher(_NotKept, Searcher):
    """Suggests a trial for every worker that would have a stage to train."""

    def __init__(self, workforce: Workforce, driver: str) -> None:
        super().__init__()
        self.workforce = workforce
        self.driver = driver  # its code, as workers are told of it
        resources = workforce.launch.resources
        self.share = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]
        """What a worker is started with; None while none is wanted, FINISHED once none ever will be."""
        if not self.workforce.launch.is_over and self.workforce.wants_one():
            self.workforce.expected(trial_id)
            where = {"share": json.dumps(self.share), "left_out": json.dumps(self.workforce.nodes.excluded())}
            return {"driver": self.driver, **where}
        return str(Searcher.FINISHED) if self.workforce.launch.is_over else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the callback is told more."""

    def save(self, checkpoint_path: str) -> None:
        """Does nothing: the store holds all state."""

    def restore(self, checkpoint_path: str) -> None:
        """Does nothing: launching again goes on from the store."""


class _TuneCallback(_NotKept, tune.Callback):
    """Hands on what Tune says of its trials to those workers that they are, and refreshes the display."""

    def __init__(self, workforce: Workforce, refresh: Callable[[], None]) -> None:
        self.workforce = workforce
        self.refresh = refresh
        self.busy_at = 0.0  # when it last saw a stage run
        self.kernel, self.here = KernelKills(), util.get_node_ip_address()  # type: ignore[no-untyped-call]

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        if self.workforce.trains:
            self.busy_at = time.monotonic()
        self.workforce.look()
        self.refresh()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.workforce.started(trial.trial_id, trial.temporary_state.ray_actor)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.workforce.heard(trial.trial_id, result)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.workforce.ended(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        step = _last_step(trial)
        if step and step.failure:
            self.workforce.failed(trial.trial_id, step.failure)
        else:
            error, text = _error_of(trial)
            failure, address = failure_of_worker(error, text), address_in(text)
            if address in ("", self.here):
                failure = self.kernel.named(failure)
            self.workforce.lost(trial.trial_id, failure, address)


class _StopWhenAsked(_NotKept, tune.Stopper):
    """Each stage after the epoch that it is in, however long that takes: told to stop all, Tune kills after 15 s."""

    def __init__(self, workforce: Workforce) -> None:
        self.workforce = workforce

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return self.workforce.launch.stop_requested

    def stop_all(self) -> bool:
        """Also once all is trained: workers may still wait for room that never comes."""
        return self.workforce.launch.is_over and not self.workforce.trains


def _last_step(trial: Trial) -> Step | None:
    """What its worker said last, if anything."""
    step = (trial.last_result or {}).get("step")
    return Step.from_dict(json.loads(step)) if step else None


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
        reason = "its worker could not start" if IN_ITS_CREATION in said else DIED
        return Failure(Fault.INFRASTRUCTURE, reason, traceback=said, last_words=last_words(said))
    return failure_of(error)
