"""What runs in Ray's worker processes: with the driver's packages, or not at all.

Workers get this module and `trainers.sources` by value, so nothing on their import path can stand in for it: what it
needs of the project's packages it imports where it uses them, once `settle` has said which these are.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray import cloudpickle, tune

from sweeper.launch.ray_jobs import PACKAGES
from trainers import sources
from trainers.sources import sources_digest

if TYPE_CHECKING:
    from sweeper.launch.orders import Order
    from sweeper.launch.worker import DataShelf, StageWorker

for module in (sys.modules[__name__], sources):
    cloudpickle.register_pickle_by_value(module)  # type: ignore[no-untyped-call]

DECIDING = ("trainers", "sweeper")  # what a stage's result and its record hang on
SHOWN = 8  # digits of a digest
NODE_LABEL = "ray.io/node-id"  # which Ray gives to each node


@dataclass(frozen=True)
class Code:
    """The packages that a process runs: where they lie, and digests of their sources."""

    host: str
    process: int
    working_folder: str
    folders: dict[str, str]  # where each package lies; "nowhere" for one that cannot be imported
    digests: dict[str, str]  # of those that decide results

    @classmethod
    def here(cls) -> Code:
        """The packages that this process has imported or would import."""
        folders = {name: _folder_of(name) for name in PACKAGES}
        digests = {name: sources_digest(Path(folders[name])) for name in DECIDING}
        return cls(platform.node(), os.getpid(), os.path.abspath(os.curdir), folders, digests)

    def difference(self, driver: Code) -> str:
        """The reason why this process must not train for the driver, in one line; empty where it runs the same code."""
        other = [name for name in DECIDING if self.digests[name] != driver.digests[name]]
        if not other:
            return ""
        return (
            f"process {self.process} on {self.host} has other code, {self._say(other)}, than the driver on "
            f"{driver.host}, {driver._say(other)}: refused before it trained anything"
        )

    def _say(self, names: Sequence[str]) -> str:
        return " and ".join(f"{self.folders[name]} (sources {self.digests[name][:SHOWN]}…)" for name in names)


def _folder_of(package: str) -> str:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        return "nowhere"
    return next(iter(spec.submodule_search_locations or ()), None) or spec.origin or "nowhere"


class DriversPackages(MetaPathFinder):
    """Finds the project's packages where the driver has them, whatever the import path says; finds no others."""

    def __init__(self, folders: Mapping[str, str]) -> None:
        self.folders = folders

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The package in the driver's folder; None on a machine without that folder, which then uses what it has."""
        folder = self.folders.get(fullname)
        return PathFinder.find_spec(fullname, [str(Path(folder).parent)]) if folder else None


def settle(driver: Code) -> str:
    """Makes this process use the driver's packages; says why it must not train where they are not the same."""
    if sys.path[:1] == [driver.working_folder]:
        del sys.path[0]  # Ray puts it there, and any file in it would stand in for a library
    sys.meta_path.insert(0, DriversPackages(driver.folders))
    return Code.here().difference(driver)


def faults_of_node(driver: dict[str, Any], *what: Any) -> list[str]:
    """The faults of the machine that this runs on; see `sweeper.launch.ray_nodes`."""
    difference = settle(Code(**driver))
    if difference:
        return [difference]
    from sweeper.launch.worker import lacks

    return lacks(*what)


def faults_of_gpu(driver: dict[str, Any]) -> list[str]:
    """The faults that keep a tensor from being put on a GPU here; empty where there are none."""
    settle(Code(**driver))
    return _faults_of_gpu()


def _faults_of_gpu() -> list[str]:
    import torch

    try:
        torch.zeros(1, device="cuda").item()
    except (RuntimeError, AssertionError) as error:
        return [f"its GPU does not start: {(str(error).strip() or type(error).__name__).splitlines()[0]}"]
    return []


class WorkerEnded(RuntimeError):
    """An error that ends this process, which can train no other stage; the failure of its last one is reported."""


def resources_of(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """The resources of a stage's worker, with the nodes that it must not start on."""
    left_out = ", ".join(json.loads(config["left_out"]))
    where: dict[str, Any] = {"bundle_label_selector": [{NODE_LABEL: f"!in({left_out})"}]} if left_out else {}
    return tune.PlacementGroupFactory([json.loads(config["share"])], **where)


class StageTrainable(tune.Trainable):
    """A worker process, one stage after the other. A step is some epochs, and without a stage it asks for one."""

    _order: Order | None = None
    _worker: StageWorker | None = None
    _shelf: DataShelf | None = None
    _refused: str | None = None  # None until it has settled
    _faults: list[str] | None = None  # of its node; None: it was not asked for them, or has told them
    _is_idle: bool = False  # there is no stage for it
    _ends: bool = False

    def setup(self, config: dict[str, Any]) -> None:
        if self._refused is None:
            self._refused = settle(Code(**json.loads(config["driver"])))
        if self._refused:
            return
        # Imports torch, which may take long on a busy machine: before the worker has started, not in its first epoch.
        from sweeper.launch.worker import DataShelf

        self._shelf = self._shelf or DataShelf()
        self._order = self._worker = self._faults = None
        self._is_idle = False

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    # Called by the driver between steps

    def find_faults(self, *what: Any) -> None:
        """Finds out what its node lacks, to be told at the next step; see `sweeper.launch.worker.lacks`."""
        from sweeper.launch.worker import lacks

        faults = lacks(*what)
        self._faults = faults or (_faults_of_gpu() if json.loads(self.config["share"])["GPU"] else [])

    def assign(self, order: str) -> None:
        """Trains this stage from the next step on; "": there is none."""
        from sweeper.launch.orders import Order

        self._order = Order(**json.loads(order)) if order else None
        self._is_idle = not order

    def dismiss(self) -> None:
        """Keeps what is trained, and ends its process at the next step."""
        self.cleanup()
        self._ends = True

    def step(self) -> dict[str, Any]:
        node = ray.get_runtime_context().get_node_id()
        if self._refused:
            return {"refused": self._refused, "done": True, "node": node}
        if self._ends:
            raise WorkerEnded
        if self._order is None:
            faults, self._faults = self._faults, None
            return {"faults": faults, "done": self._is_idle, "node": node}
        from sweeper.launch.orders import ANSWER_SECONDS
        from sweeper.launch.worker import StageWorker

        assert self._shelf is not None
        if self._worker is None:
            self._worker = StageWorker(self._order, self._shelf)
        step = self._worker.answer(ANSWER_SECONDS)
        self._ends = step.failure is not None and step.failure.ends_its_process
        # Once it is done Tune would use this process again; one that raises is replaced.
        done = step.done and not self._ends
        return {"step": json.dumps(step.as_dict()), "done": done, "node": node}

    def cleanup(self) -> None:
        """Saves what is trained as the launch stops. A disk that fails here only costs epochs."""
        if self._worker is not None:
            with suppress(OSError):
                self._worker.save()


def as_text(code: Code) -> str:
    """The text of a code, which Tune hands to workers."""
    return json.dumps(asdict(code))
