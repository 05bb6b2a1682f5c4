"""Which nodes of a cluster stages may run on, from one look at it to the next. Knows no Ray."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sweeper.launch.launch import Launch, Resources
from sweeper.stages.faults import Failure, Fault
from sweeper.text import in_words
from trainers.costs.units import BYTE
from trainers.errors import InvalidInput

LOOK_SECONDS = 2.0
IN_A_ROW = 3  # stages that a node fails, none coming through, until it is left out
WAIT_SECONDS = 900.0  # for a node that holds a trial
ROUNDING = 1e-6


@dataclass(frozen=True)
class Node:
    """A node that is alive, as it was seen at one moment."""

    id: str
    name: str
    address: str
    port: int
    resources: Mapping[str, float]
    is_leaving: bool = False  # it was told to drain: what runs there has some seconds left
    answers: bool = True  # it takes connections from here

    @property
    def memory_bytes(self) -> float:
        """The memory that Ray counts here, for workers and for what they share; 0 where it does not say."""
        return self.resources.get("memory", 0.0) + self.resources.get("object_store_memory", 0.0)

    def room(self, resources: Resources) -> int:
        """How many trials it holds at once."""
        cpus, gpus = self.resources.get("CPU", 0.0), self.resources.get("GPU", 0.0)
        room = int(cpus / resources.cpus_per_trial + ROUNDING)
        share = resources.gpus_per_trial
        if not share:
            return room
        if share < 1:  # lies on one GPU
            return min(room, int(gpus + ROUNDING) * int(1 / share + ROUNDING))
        return min(room, int(gpus / share + ROUNDING))


@dataclass(frozen=True)
class Scaling:
    """What a launch asks of a cluster that can grow, and how long it waits for that."""

    scale_to: int | None = None  # trials at once
    wait_seconds: float | None = None  # for a node that holds a trial; None: not at the start, and later 15 minutes

    @property
    def waits_at_the_start(self) -> bool:
        return self.scale_to is not None or self.wait_seconds is not None

    @property
    def patience_seconds(self) -> float:
        return WAIT_SECONDS if self.wait_seconds is None else self.wait_seconds


@dataclass
class Nodes:
    """The nodes of a cluster: how much room they have, which ones are not to be used, and what is told of them.

    One that keeps failing stages is left out as long as another could have them; one that lacks what stages need, for
    good.
    """

    launch: Launch
    look: Callable[[], Sequence[Node]]
    scaling: Scaling = field(default_factory=Scaling)
    asks_first: bool = False  # a node is asked what it lacks before its first stage
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.here: dict[str, Node] = {}  # by id
        self._unfit: set[str] = set()  # ids of those that lack something
        self._left_out: set[str] = set()  # of those that kept failing
        self._fit: set[str] = set()  # of those that were asked, and lack nothing
        self._failed: Counter[str] = Counter()  # stages in a row
        self._looked_at: float | None = None
        self._nothing_since: float | None = None  # no node holds a trial

    def check_room(self) -> None:
        """Raises InvalidInput where no node could hold one trial, unless one is to be waited for."""
        self.here = {node.id: node for node in self.look()}
        large = [node for node in self.here.values() if node.room(self.launch.resources)]
        if large and all(map(self._is_too_small, large)) and not self.scaling.waits_at_the_start:
            most = max(node.memory_bytes for node in large)
            raise InvalidInput(
                f"memory: one trial is estimated at {BYTE.print(self.launch.needs_bytes)}, more than the "
                f"{BYTE.print(most)} that any node of the cluster has: a smaller width or batch_size takes less, and "
                "--despite-memory starts it all the same"
            )
        self._leave_out_small()
        if self.slots() or self.scaling.waits_at_the_start:
            return
        resources = self.launch.resources
        shares = {"CPU": resources.cpus_per_trial, "GPU": resources.gpus_per_trial}
        there = {kind: sum(node.resources.get(kind, 0.0) for node in self.here.values()) for kind in shares}
        for kind, wanted in shares.items():
            if wanted > there[kind]:
                flag = f"--{kind.lower()}s-per-trial"
                raise InvalidInput(f"{flag}: {wanted:g} is more than the {there[kind]:g} {kind}s that Ray has")
        raise InvalidInput(f"--cpus-per-trial: the cluster has not {self.wanted_node()}")

    # From look to look

    def refresh(self) -> bool:
        """Looks again, if it is time to. True if it has."""
        now = self.clock()
        if self._looked_at is not None and now - self._looked_at < LOOK_SECONDS:
            return False
        first, self._looked_at = self._looked_at is None, now
        before, self.here = self.here, {node.id: node for node in self.look()}
        self._leave_out_small()
        if not first:
            self._tell_changes(before)
        self._wait(now)
        return True

    def _tell_changes(self, before: Mapping[str, Node]) -> None:
        tell = self.launch.tell
        for node in before.values():
            if node.id not in self.here:
                tell(f"node {node.name} is gone")
        for node in self.here.values():
            known = before.get(node.id)
            if known is None:
                tell(f"node {node.name} has joined, with room for {_trials(node.room(self.launch.resources))}")
            if node.is_leaving and not (known and known.is_leaving):
                tell(f"node {node.name} is about to go: its stages are saved after their epochs, and go on elsewhere")
            if known and known.answers and not node.answers:
                tell(f"node {node.name} does not answer any more: its stages go on elsewhere")
            if known and node.answers and not known.answers:
                tell(f"node {node.name} answers again")

    def _wait(self, now: float) -> None:
        """Nothing is started while no node holds a trial; how long that may be has an end."""
        if self.slots() or self.launch.schedule.running:
            self._nothing_since, self.launch.waits_for = None, ""
            return
        patience = self.scaling.patience_seconds
        if self._nothing_since is None:
            self._nothing_since = now
            self.launch.tell(f"waiting for {self.wanted_node()}, for {in_words(patience)} at most")
        self.launch.waits_for = self.wanted_node()
        if now - self._nothing_since >= patience and not self.launch.stop_requested:
            self.launch.give_up_waiting(f"{self.wanted_node()} did not come within {in_words(patience)}")

    # Room

    def usable(self) -> list[Node]:
        """The nodes that stages may be started on now."""
        fit = [
            node
            for node in self.here.values()
            if node.answers and not node.is_leaving and node.id not in self._unfit and node.room(self.launch.resources)
        ]
        return [node for node in fit if node.id not in self._left_out] or fit

    def slots(self) -> int:
        """How many trials the nodes hold at once."""
        return sum(node.room(self.launch.resources) for node in self.usable())

    def wanted(self) -> int:
        """How many trials are to run at once, or to wait for room that a cluster can make when it sees them wait."""
        wanted = max(self.slots(), self.scaling.scale_to or 1)
        most = self.launch.resources.max_parallel
        return min(wanted, most) if most else wanted

    def excluded(self) -> list[str]:
        """The ids of nodes that are there, and must not be given stages. Ray itself avoids those that leave."""
        usable = {node.id for node in self.usable()}
        large = [node for node in self.here.values() if node.room(self.launch.resources) and not node.is_leaving]
        return sorted(node.id for node in large if node.id not in usable)

    def may_use(self, node_id: str) -> bool:
        """Whether a worker that is on this node may be given a stage. One that was never seen has joined just now."""
        return node_id not in self.here or node_id in {node.id for node in self.usable()}

    def is_leaving(self, node_id: str) -> bool:
        return node_id in self.here and self.here[node_id].is_leaving

    def answers(self, node_id: str) -> bool:
        return node_id not in self.here or self.here[node_id].answers

    def wanted_node(self) -> str:
        """'a node with 2 CPUs and 1 GPU for a trial'."""
        resources = self.launch.resources
        parts = [_counted(resources.cpus_per_trial, "CPU")]
        parts += [_counted(resources.gpus_per_trial, "GPU")] if resources.gpus_per_trial else []
        return f"a node with {' and '.join(parts)} for a trial"

    def _is_too_small(self, node: Node) -> bool:
        """Whether its memory cannot hold a trial that runs on CPUs. Of GPUs' memory Ray says nothing."""
        on_cpus = not self.launch.resources.gpus_per_trial
        return on_cpus and 0 < node.memory_bytes < self.launch.needs_bytes

    def _leave_out_small(self) -> None:
        for node in filter(self._is_too_small, self.here.values()):
            needs, has = BYTE.print(self.launch.needs_bytes), BYTE.print(node.memory_bytes)
            self.found_unfit(node.id, f"a trial is estimated at {needs} of memory, and it has {has}")

    # Faults of nodes

    def needs_to_be_asked(self, node_id: str) -> bool:
        """Whether it is not known yet if this node has what stages need."""
        return self.asks_first and node_id not in self._fit

    def found_fit(self, node_id: str) -> None:
        """It was asked, and lacks nothing."""
        self._fit.add(node_id)

    def found_unfit(self, node_id: str, why: str) -> None:
        """Starts no stage on this node: it lacks something, or does not say."""
        if node_id not in self._unfit:
            self._unfit.add(node_id)
            self._tell_left_out(node_id, why)

    def came_through(self, node_id: str) -> None:
        """A stage was trained there to its end."""
        self._failed[node_id] = 0

    def failed(self, node_id: str, failure: Failure) -> None:
        """A stage did not get through there."""
        if failure.fault is not Fault.INFRASTRUCTURE or node_id in self._left_out:
            return
        self._failed[node_id] += 1
        there = {node.id for node in self.usable()}
        if self._failed[node_id] >= IN_A_ROW and node_id in there and there - {node_id}:
            self._left_out.add(node_id)
            why = f"{self._failed[node_id]} stages in a row failed on it, the last: {failure}"
            self._tell_left_out(node_id, why)

    def at(self, address: str) -> str:
        """The id of the node at this address; "" where several are, or none."""
        ids = [node.id for node in self.here.values() if node.address == address]
        return ids[0] if len(ids) == 1 else ""

    def _tell_left_out(self, node_id: str, why: str) -> None:
        node = self.here.get(node_id)
        self.launch.leave_out(node.name if node else node_id, why)


def _trials(count: int) -> str:
    return f"{count:,} {'trial' if count == 1 else 'trials'}" if count else "no trial"


def _counted(number: float, kind: str) -> str:
    return f"{number:g} {kind}{'' if number <= 1 else 's'}"
