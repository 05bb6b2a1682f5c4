"""The workers that a launch has on a cluster, from the moment that one is wanted until its process is gone.

A worker says on which node it is, and is given a stage only then: after its node was asked what it lacks, if that is
not known yet. What it trains goes back when its node is about to go, and fails when its process dies.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray

from sweeper.launch.cluster.nodes import Nodes
from sweeper.launch.hung_workers import Silence
from sweeper.launch.launch import Launch
from sweeper.launch.orders import Step
from sweeper.stages.faults import Failure, Fault
from sweeper.text import in_words

PATIENCE_SECONDS = 180.0  # with a node that was asked what it lacks
SAVING_SECONDS = 20.0  # that a worker has to save what it trained, at the end
ENDED = "WorkerEnded"  # what a worker raises that was told to go, or is fit for nothing more
NODE_DIED = "its node has died"  # in Ray's words


@dataclass
class Worker:
    """A worker that was asked for."""

    actor: Any = None  # None until its process has started
    node: str = ""  # its id, once the worker has said it
    key: str = ""  # of the stage that it trains
    asked_at: float | None = None  # when its node was asked what it lacks
    killed: Failure | None = None  # why it was killed


class Workforce:
    """All workers of a launch, by the trial of Tune's that each belongs to."""

    def __init__(
        self,
        launch: Launch,
        nodes: Nodes,
        silence: Silence,
        question: Callable[[], tuple[Any, ...]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`question`: what a worker is to be told to find out what its node lacks."""
        self.launch, self.nodes, self.silence, self.question, self.clock = launch, nodes, silence, question, clock
        self._workers: dict[str, Worker] = {}
        self._node_of: dict[Any, str] = {}  # by actor; one is used again for trial after trial
        self._dismissed: set[Any] = set()  # actors

    @property
    def trains(self) -> bool:
        """Whether a stage is being trained."""
        return any(worker.key for worker in self._workers.values())

    def wants_one(self) -> bool:
        """Whether another worker would have a stage to train, and may have the room."""
        on_their_way = sum(not worker.key for worker in self._workers.values())
        return len(self._workers) < self.nodes.wanted() and self.launch.has_more_than(on_their_way)

    # What happens to a worker

    def expected(self, trial_id: str) -> None:
        """It was asked for."""
        self._workers[trial_id] = Worker()

    def started(self, trial_id: str, actor: Any) -> None:
        """Its process is there, a new one or one that has trained before."""
        worker = self._workers[trial_id]
        worker.actor, worker.node = actor, self._node_of.get(_id(actor), "")
        if worker.node:
            self._give_work(worker, None)

    def heard(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """It has said something: where it is, what its node lacks, how its stage goes."""
        worker = self._workers.get(trial_id)
        if worker is None:
            return
        worker.node = self._node_of[_id(worker.actor)] = result.get("node", "")
        if "step" in result:
            step = Step.from_dict(json.loads(result["step"]))
            self.launch.take(worker.key, step)
            if step.done and step.failure is None:
                self.nodes.came_through(worker.node)
            elif not step.done and self.launch.stop_requested:
                _save(worker)
        elif "refused" in result:
            self._refused(worker, result["refused"])
        elif not result.get("done"):
            self._give_work(worker, result.get("faults"))

    def ended(self, trial_id: str) -> None:
        """It is done with what it was asked for."""
        self._workers.pop(trial_id, None)

    def failed(self, trial_id: str, failure: Failure) -> None:
        """It has said why its stage failed, and ended its process."""
        worker = self._workers.pop(trial_id, Worker())
        self.nodes.failed(worker.node, failure)

    def lost(self, trial_id: str, failure: Failure, address: str) -> None:
        """Its process is gone. `failure`: what Ray says of that; `address`: of the node, if Ray says so."""
        worker = self._workers.pop(trial_id, Worker())
        node, said = worker.node or self.nodes.at(address), failure.traceback
        if worker.killed is None and ENDED in said:
            self.launch.put_back(worker.key, "its node is about to go; its epochs are saved")
        elif worker.key:
            self.launch.fail(worker.key, worker.killed or failure)
            self.nodes.failed(node, worker.killed or failure)
        elif worker.killed is None and NODE_DIED not in said and (order := self.launch.next_order()):
            self.launch.fail(order.stage["key"], failure)  # or workers that do not start would be asked for for ever
            self.nodes.failed(node, failure)

    # What is done about them

    def look(self) -> None:
        """Ends workers that hang, and those on nodes that are about to go or do not answer."""
        for key, limit_seconds in self.silence.overdue():
            for worker in [each for each in self._workers.values() if each.key == key]:
                self.silence.forget(key)
                self._kill(worker, f"its worker hung: no epoch within {in_words(limit_seconds)}, so it was killed")
        if not self.nodes.refresh():
            return
        for worker in [each for each in self._workers.values() if each.node and each.killed is None]:
            if not self.nodes.answers(worker.node):
                self._kill(worker, "its node does not answer any more")
            elif self.nodes.is_leaving(worker.node):
                self._dismiss(worker)
            elif not worker.key and worker.asked_at is not None and self.clock() - worker.asked_at > PATIENCE_SECONDS:
                silent = f"asked what it lacks, it said nothing for {in_words(PATIENCE_SECONDS)}"
                self.nodes.found_unfit(worker.node, silent)
                self._kill(worker, silent)

    def _give_work(self, worker: Worker, faults: list[str] | None) -> None:
        """A stage; or the question what its node lacks, of which `faults` are the answer."""
        if _id(worker.actor) in self._dismissed:
            return
        if faults is not None and not faults:
            self.nodes.found_fit(worker.node)
        elif faults:
            self.nodes.found_unfit(worker.node, "; ".join(faults))
        elif worker.asked_at is not None:
            self.nodes.found_unfit(worker.node, "asked what it lacks, it failed")
        if not self.nodes.may_use(worker.node):
            self._dismiss(worker)
        elif self.nodes.needs_to_be_asked(worker.node):
            worker.asked_at = self.clock()
            worker.actor.find_faults.remote(*self.question())
        elif order := self.launch.next_order():
            worker.key = order.stage["key"]
            self.silence.started(worker.key)
            worker.actor.assign.remote(json.dumps(order.as_dict()))
        else:
            worker.actor.assign.remote("")

    def _refused(self, worker: Worker, why: str) -> None:
        if self.nodes.needs_to_be_asked(worker.node):
            self.nodes.found_unfit(worker.node, why)
        else:
            self.launch.refuse(worker.key, why)

    def _dismiss(self, worker: Worker) -> None:
        """It saves what it has trained once its epoch has ended, and ends its process."""
        if _id(worker.actor) not in self._dismissed:
            self._dismissed.add(_id(worker.actor))
            worker.actor.dismiss.remote()

    def _kill(self, worker: Worker, why: str) -> None:
        worker.killed = Failure(Fault.INFRASTRUCTURE, why)
        ray.kill(worker.actor)  # works on a stopped process too: its node sees to that


def _save(worker: Worker) -> None:
    """Waits until it has saved its epochs: it does so as it is stopped, too, but is killed by Tune after 5 s."""
    with suppress(ray.exceptions.RayError):  # it is gone, or hangs: its epochs since the last save are lost
        ray.get(worker.actor.cleanup.remote(), timeout=SAVING_SECONDS)


def _id(actor: Any) -> Any:
    """What tells actors apart without keeping them alive."""
    return getattr(actor, "_actor_id", None)
