"""A launch without a disk and without training: stages end when the test says so, with the accuracies that it says."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from search_spaces.spec import Limits, Rungs
from sweeper.launch.launch import Launch, Resources
from sweeper.launch.orders import Step
from sweeper.records.index import Brief, StageIndex
from sweeper.records.stage_record import StageRecord
from sweeper.search.limits import Account
from sweeper.search.policy import Steering
from sweeper.search.rungs import RungBook
from sweeper.stages.forest import Cuts
from sweeper.stages.planting import plant
from sweeper.storage.folder import Folder
from trainers.recipe.recipe import Recipe

DIGESTS = {"digits": "d1", "mnist": "d2"}
Accuracy = Callable[[Recipe, int], float]  # of a recipe after so many epochs over all


class FakeStore:
    """Records in memory."""

    root = Path("/nowhere")
    damages: list[Any]

    def __init__(self) -> None:
        self.records: dict[str, StageRecord] = {}
        self.index = StageIndex()
        self.kept_failures: dict[str, Any] = {}

    def expect(self, lineages):
        pass

    def spans(self, lineage):
        return {record.end: record.start for record in self.records.values() if record.lineage == lineage}

    def has_state(self, key):
        return key in self.records

    def read_span(self, key, start):
        record = self.records.get(key)
        return record if record and record.start == start else None

    def brief(self, stage):
        record = self.read_span(stage.key, stage.start)
        return record and Brief.of(record)

    def failures(self):
        return dict(self.kept_failures)

    def read_failure(self, key):
        return self.kept_failures.get(key)

    def write_failure(self, key, fields):
        self.kept_failures[key] = fields

    def clear_failure(self, key):
        self.kept_failures.pop(key, None)

    def partial_record(self, key):
        return None


class NoClaims:
    """Nobody else is there."""

    def take(self, key):
        return True

    def release(self, key):
        pass


class Guess:
    """Every epoch takes so many seconds, and 100 FLOPs."""

    def __init__(self, seconds: float | None = 1.0) -> None:
        self.per_epoch = seconds

    def seconds(self, stage):
        return None if self.per_epoch is None else self.per_epoch * stage.epochs

    def flops(self, stage):
        return 100 * stage.epochs


def costs(epochs):
    """Of a stage of these epochs, as `Guess` has it."""
    sums = {"flops": 100 * len(epochs), "train_seconds": sum(epoch["train_seconds"] for epoch in epochs)}
    return {**sums, "peak_memory_bytes": 1, "state_bytes": 1, "stored_bits_per_weight": 1.0}


class FakeLaunch(Launch):
    """Hands out the stages of recipes; `finish` ends one."""

    def __init__(
        self,
        recipes: Sequence[Recipe],
        limits: Limits | None = None,
        rungs: Rungs | None = None,
        search: Any = None,
        store: FakeStore | None = None,
        accuracy: Accuracy = lambda recipe, epoch: 0.5,
        folder: Path | None = None,
        read_only: bool = False,
    ) -> None:
        self.accuracy = accuracy
        steering = Steering(
            search,
            RungBook(rungs, Folder(folder) if folder else None) if rungs else None,
            Account(limits, Guess()) if limits else None,
        )
        store = store or FakeStore()
        cuts = Cuts(frozenset(rungs.epochs if rungs else ()), {"slot": frozenset(range(1, 10))} if search else {})
        forest = plant(recipes, DIGESTS, store, cuts)
        super().__init__("fake", forest, DIGESTS, store, Resources(), {}, steering=steering, read_only=read_only)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.claims = NoClaims()

    def finish(self, key: str, timed: Sequence[Any] = ()) -> None:
        """The stage ends, as a worker would say; `timed`: its epochs, where they are not of a second each."""
        stage = self.forest.stages[key]
        before, parent = stage.start, stage
        while parent.parent is not None:
            parent = self.forest.stages[parent.parent]
            before += parent.epochs if parent.lineage != stage.lineage else 0
        epochs = [
            {
                "validation_accuracy": self.accuracy(stage.recipe, before + number),
                "train_seconds": 0.75,
                "evaluation_seconds": 0.25,
            }
            for number in range(1, stage.epochs + 1)
        ]
        epochs = [*timed] or epochs
        self.store.records[key] = StageRecord(
            key, stage.parent, stage.lineage, stage.phase, stage.start, stage.end, {}, "", 1, epochs, 0.5, 1.0,
            costs(epochs), sum(epoch["evaluation_seconds"] for epoch in epochs), {"sweep": self.sweep}, "", "",
        )  # fmt: skip
        self.take(key, Step([], stage.end, done=True))

    def run(self, workers: int = 1) -> list[str]:
        """Trains everything, first come, first done; returns the stages in the order in which they ended."""
        running: list[str] = []
        ended: list[str] = []
        while not self.is_over:
            while len(running) < workers and (order := self.next_order()):
                running.append(order.stage["key"])
            if running:
                ended.append(running.pop(0))
                self.finish(ended[-1])
        return ended
