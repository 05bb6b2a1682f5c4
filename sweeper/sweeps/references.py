"""Which stages and plug-ins sweeps refer to: those that no sweep of a storage refers to may be removed."""

from __future__ import annotations

from sweeper.launch.sweep import PlantedSweep
from sweeper.launch.view import SweepView
from sweeper.records.layout import StoredStage
from sweeper.records.sweep_folder import SweepFolder
from sweeper.storage.claims import PATIENCE_SECONDS
from sweeper.storage.place import Place
from trainers.errors import InvalidInput


class Wanted:
    """What the sweeps of a storage refer to, but for one that is to go. Raises InvalidInput if that cannot be told."""

    def __init__(self, storage: Place, earlier_too: bool = True, besides: str = "", command: str = "gc") -> None:
        """`earlier_too`: also what only earlier versions refer to. `besides`: the sweep that does not count."""
        self.sweeps = [name for name in SweepFolder.names(storage) if name != besides]
        self.searching: list[str] = []  # of these, those that run and are not planned to their end
        self.plugins: set[str] = set()  # the digests of those that any version of a sweep names
        self.earlier: set[str] = set()  # the stages of earlier versions, where these are wanted too
        self._keys: set[str] = set()
        self._lineages: set[str] = set()
        for name in self.sweeps:
            try:
                view = SweepView(SweepFolder(storage, name), PATIENCE_SECONDS)
                self.plugins |= plugins_of(view)
                if earlier_too:
                    self.earlier |= stages_of_other_versions(view)
            except InvalidInput as error:
                raise InvalidInput(f"{command}: nothing is removed, as {name!r} cannot be read: {error}") from None
            self._keys |= stages_of_present_version(view)
            if view.running and view.spec.search:
                self.searching.append(name)
            if view.running:
                # It goes by what was stored when it began, and that may be other points of the same lineages.
                self._lineages |= {stage.lineage for stage in view.launch.forest.stages.values()}

    def has(self, stage: StoredStage) -> bool:
        """Whether the present version of a sweep refers to this stage, or a sweep that runs may."""
        return self.has_key(stage.key) or stage.lineage in self._lineages

    def has_key(self, key: str) -> bool:
        """Whether the present version of a sweep refers to the stage that ends here."""
        return key in self._keys


def plugins_of(view: SweepView) -> set[str]:
    """The digests of the plug-ins that any version of a sweep names. Raises InvalidInput."""
    others = [view.versions.spec(number) for number in view.versions.numbers if number != view.version]
    return {plugin.digest for spec in (view.spec, *others) for plugin in spec.plugins_used()}


def stages_of(view: SweepView) -> set[str]:
    """The stages that any version of a sweep refers to. Raises InvalidInput."""
    return stages_of_present_version(view) | stages_of_other_versions(view)


def stages_of_present_version(view: SweepView) -> set[str]:
    """The stages that a sweep refers to as it was launched last, of all sources that it was trained with."""
    stages = set(view.launch.forest.stages)
    for apart in view.file.all_sources_apart() - {view.launch.forest.sources}:
        planted = PlantedSweep(view.spec, view.folder, view.file.digests, apart, read_only=True)
        stages |= planted.forest.stages.keys()
    return stages


def stages_of_other_versions(view: SweepView) -> set[str]:
    """The stages that versions of a sweep other than the present one refer to. Raises InvalidInput."""
    stages: set[str] = set()
    for number in view.versions.numbers:
        if number != view.version:
            spec, digests = view.versions.spec(number), view.versions[number].digests
            for apart in view.file.all_sources_apart():
                stages |= PlantedSweep(spec, view.folder, digests, apart, read_only=True).forest.stages.keys()
    return stages
