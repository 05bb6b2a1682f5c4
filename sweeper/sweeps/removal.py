"""What goes with a sweep that is deleted: itself, its experiment, and the stages and plug-ins of no other one."""

from __future__ import annotations

from collections.abc import Collection

from sweeper.launch.view import SweepView
from sweeper.plugins.stored import remove_kept
from sweeper.records.bucket_store import open_store
from sweeper.records.layout import StoredStage
from sweeper.records.sweep_folder import SweepFolder
from sweeper.sweeps.references import Wanted, plugins_of, stages_of
from sweeper.sweeps.rename import is_there
from sweeper.tracking.experiment import delete_experiment
from sweeper.tracking.mlflow_client import TrackingDown
from trainers.errors import InvalidInput


class Removal:
    """The removal of one sweep, as it would be now. Raises InvalidInput where that cannot be told for sure."""

    def __init__(self, folder: SweepFolder) -> None:
        self.folder, self.store = folder, open_store(folder.storage)
        self.unreadable = ""  # why its stages cannot be told
        try:
            view = SweepView(folder)
            self.keys, plugins = stages_of(view), plugins_of(view)
        except InvalidInput as error:
            self.keys, plugins, self.unreadable = set(), set(), str(error)
        wanted = Wanted(folder.storage, besides=folder.name, command="delete")
        if self.keys and wanted.searching:
            raise InvalidInput(
                f"delete: nothing is removed while {wanted.searching[0]!r} searches: what it will ask for is not known"
            )
        stored = [stage for stage in self.store.stages() if stage.key in self.keys]
        self.stages = [stage for stage in stored if not (wanted.has(stage) or stage.key in wanted.earlier)]
        self.plugins = plugins - wanted.plugins
        self.shared = len(stored) - len(self.stages)
        self._unfinished = {key for key in self.keys if key not in wanted.earlier and not wanted.has_key(key)}

    def carry_out(self, agreed: Collection[str] | None = None) -> list[StoredStage]:
        """Removes it all; returns the stages that went. Holding the sweep's lock and the storage's.

        `agreed`: the keys of stages that may go; None: all. The sweep itself goes last: until then the same again goes
        on. Raises InvalidInput where MLflow does not answer, before anything is removed.
        """
        tracking = self.folder.read().tracking
        try:
            if is_there(tracking, self.folder.storage):
                delete_experiment(tracking, self.folder.name)
        except TrackingDown as down:
            raise InvalidInput(f"tracking: nothing was removed, as MLflow does not answer: {down}") from None
        gone = [stage for stage in self.stages if agreed is None or stage.key in agreed]
        for stage in gone:
            self.store.remove(stage)
        for key in self._unfinished & self.store.failures().keys():
            self.store.clear_failure(key)
        for key in self._unfinished:
            if self.store.partial_record(key):
                self.store.remove_partial(key)
        for digest in self.plugins:
            remove_kept(self.folder.storage, digest)
        self.folder.remove()
        return gone
